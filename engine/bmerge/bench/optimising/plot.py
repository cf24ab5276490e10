"""The benchmark's plot: what is found by pictures painted, a panel for each landscape, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from bmerge.bench.optimising.table import ContestLine

__all__ = ["plot"]

_WIDE, _HIGH, _LEFT, _TOP, _GAP, _LEGEND = 260, 190, 40, 30, 50, 20
_COLUMNS = 3
_COLOURS = (
    "#d1495b", "#30638e", "#edae49", "#00798c", "#7c5cd6", "#8a8f98", "#3a7d44", "#c06014",
    "#5f0f40", "#14746f", "#9a8c98", "#6c757d", "#b5179e", "#4361ee",
)  # fmt: skip


def plot(lines: Sequence[ContestLine]) -> str:
    """Return the plot.

    Args:
        lines: of the table; each has a colour of its own, and the same in every panel.
    """
    places = list(dict.fromkeys(place for line in lines for place, _ in line.cells))
    rows = -(-len(places) // _COLUMNS)
    width = _LEFT + _COLUMNS * (_WIDE + _GAP)
    below = rows * (_HIGH + _GAP) + _TOP
    height = below + _LEGEND * (-(-len(lines) // _COLUMNS)) + 10
    size = f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for index, place in enumerate(places):
        x = _LEFT + index % _COLUMNS * (_WIDE + _GAP)
        y = _TOP + index // _COLUMNS * (_HIGH + _GAP)
        parts += _panel(place, lines, x, y)
    for index, line in enumerate(lines):
        x = _LEFT + index % _COLUMNS * (_WIDE + _GAP)
        y = below + _LEGEND * (index // _COLUMNS)
        colour = _COLOURS[index % len(_COLOURS)]
        parts.append(f'<path d="M{x} {y}h20" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 26}" y="{y + 4}">{escape(line.name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(place: str, lines: Sequence[ContestLine], x: int, y: int) -> Iterator[str]:
    """Yield one landscape: quality from 0 to 1, pictures from 0 to the most that one painted."""
    last = max(mark for line in lines for name, mark in line.cells if name == place)
    yield f'<text x="{x}" y="{y - 8}" font-weight="bold">{escape(place)}</text>'
    for tenth in range(0, 11, 2):
        at = y + _HIGH - _HIGH * tenth / 10
        yield f'<path d="M{x} {at:g}h{_WIDE}" stroke="#dddddd"/>'
        yield f'<text x="{x - 6}" y="{at + 4:g}" text-anchor="end">{tenth / 10:g}</text>'
    for part in (0, 0.5, 1):
        at = x + _WIDE * part
        text = f"{last * part:g} pictures" if part == 1 else f"{last * part:g}"
        yield f'<text x="{at:g}" y="{y + _HIGH + 14}" text-anchor="middle">{text}</text>'
    for index, line in enumerate(lines):
        marks = sorted(mark for name, mark in line.cells if name == place)
        if not marks:
            continue
        points = (
            f"{x + _WIDE * mark / last:.1f},{y + _HIGH * (1 - line.cells[place, mark].median):.1f}"
            for mark in marks
        )
        colour = _COLOURS[index % len(_COLOURS)]
        yield f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}"/>'
