"""A table of numbers as a heat map: an SVG drawing, or a page with it.

Pure text without a library: cells carry their number as a tooltip, and read in light and dark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from bmerge.colours import ink_on, weight_colour
from bmerge.records import dataclass

__all__ = ["HeatGrid", "page", "svg"]

_ROW, _COLUMN, _GAP = 22, 96, 2
_NAMES, _HEAD = 150, 62
_LETTER = 7.2
"""Width of a character of the labels, in units of the drawing."""


@dataclass(frozen=True, slots=True)
class HeatGrid:
    """A table.

    Args:
        title: one line above it.
        rows: labels.
        columns: labels.
        cells: (row, column) → its number; None where there is none to show.
        text: writes a number.
        diverging: whether 0 … 1 are two ends of one scale; else 0 is nothing, and the greatest
            number is the darkest.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Mapping[tuple[str, str], float | None]
    text: Callable[[float], str]
    diverging: bool = False

    def colour(self, value: float) -> str:
        """Return a cell's ``#rrggbb``."""
        if self.diverging:
            return weight_colour(value, 0.0, 1.0)
        most = max((abs(each) for each in self.cells.values() if each is not None), default=0.0)
        return weight_colour(value, -most, most) if most else weight_colour(0.5, 0.0, 1.0)


def svg(grid: HeatGrid) -> str:
    """Return the drawing as the text of an SVG file."""
    names = max([_NAMES, *(_LETTER * len(row) + 14 for row in grid.rows)])
    width = max(names + len(grid.columns) * _COLUMN + 8, _LETTER * len(grid.title) + 24)
    height = _HEAD + len(grid.rows) * _ROW + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"',
        f'width="{width:g}" height="{height:g}" font-family="system-ui, sans-serif"',
        'font-size="12">',
        "<style>text{fill:#20242b}@media(prefers-color-scheme:dark){text.l{fill:#e6e8ec}}</style>",
        f'<text class="l" x="8" y="20" font-weight="600">{escape(grid.title)}</text>',
        *_labels(grid, names),
        *_cells(grid, names),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def page(grid: HeatGrid, lines: Sequence[str]) -> str:
    """Return a page with the drawing and what else there is to say, as the text of an HTML file."""
    said = "".join(f"<p>{escape(line)}</p>\n" for line in lines)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f"<title>{escape(grid.title)}</title>\n"
        "<style>:root{color-scheme:light dark}body{font:15px system-ui,sans-serif;margin:2rem}"
        "svg{max-width:100%;height:auto}</style></head><body>\n"
        f"{said}{svg(grid)}</body></html>\n"
    )


def _labels(grid: HeatGrid, names: float) -> Iterator[str]:
    for index, column in enumerate(grid.columns):
        x = names + index * _COLUMN + _COLUMN / 2
        place = f'x="{x:g}" y="{_HEAD - 10}" text-anchor="middle"'
        yield f'<text class="l" {place}>{escape(column)}</text>'
    for index, row in enumerate(grid.rows):
        y = _HEAD + index * _ROW + _ROW / 2 + 4
        yield f'<text class="l" x="8" y="{y:g}">{escape(row)}</text>'


def _cells(grid: HeatGrid, names: float) -> Iterator[str]:
    for i, row in enumerate(grid.rows):
        for j, column in enumerate(grid.columns):
            value = grid.cells.get((row, column))
            if value is None:
                continue
            colour, text = grid.colour(value), escape(grid.text(value))
            x, y = names + j * _COLUMN, _HEAD + i * _ROW
            yield (
                f"<g><title>{escape(row)}, {escape(column)}: {value:g}</title>"
                f'<rect x="{x:g}" y="{y}" width="{_COLUMN - _GAP}" height="{_ROW - _GAP}" rx="3" '
                f'fill="{colour}"/><text x="{x + _COLUMN / 2 - 1:g}" y="{y + _ROW / 2 + 3:g}" '
                f'text-anchor="middle" style="fill:{ink_on(colour)}">{text}</text></g>'
            )
