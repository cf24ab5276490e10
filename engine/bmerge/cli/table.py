"""Tables that fit the terminal: wide cells are folded, headings are bold, names have a colour.

Where the output is not a terminal nothing is folded or coloured: each row is one line, for
``grep`` and its like. ``COLUMNS`` in the environment folds there, too.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

import click

__all__ = ["lines_of", "terminal_width"]

_GAP = "  "
_NARROWEST = 14
_NAME = "cyan"


def terminal_width() -> int | None:
    """Return the columns that results have; None if they do not go to a terminal.

    ``COLUMNS`` says how many there are, for other places than a terminal, too.
    """
    told = os.environ.get("COLUMNS", "").isdecimal()
    return shutil.get_terminal_size().columns if told or sys.stdout.isatty() else None


def lines_of(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None,
    titles: Sequence[str] = (),
) -> list[str]:
    """Return a table as lines.

    Args:
        header: of the columns.
        rows: cells that are safe to print.
        width: of the terminal; None for plain lines as long as they are.
        titles: the group that each row belongs to, if there are groups; shown on a terminal.
    """
    columns = range(len(header))
    widths = [max([len(header[i]), *(len(row[i]) for row in rows)]) for i in columns]
    if width is None:
        return [_plain(row, widths) for row in (header, *rows)]
    widths = _fitting(widths, width)
    lines = _styled(header, widths, bold=True)
    last = None
    for number, row in enumerate(rows):
        if titles and titles[number] != last:
            last = titles[number]
            lines += ["", click.style(last, bold=True, underline=True)]
        lines += _styled(row, widths, bold=False)
    return lines


def _plain(row: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
    return _GAP.join(padded).rstrip()


def _fitting(widths: Sequence[int], total: int) -> list[int]:
    """Return widths that leave nothing over the edge: the widest columns give way first."""
    fitting = list(widths)
    room = total - len(_GAP) * (len(widths) - 1)
    while sum(fitting) > room and max(fitting[1:], default=0) > _NARROWEST:
        place = max(range(1, len(fitting)), key=fitting.__getitem__)
        fitting[place] -= 1
    return fitting


def _styled(row: Sequence[str], widths: Sequence[int], *, bold: bool) -> list[str]:
    """Return the lines of one row; further lines of a cell stand below its first."""
    cells = [
        textwrap.wrap(cell, max(width, 1), break_on_hyphens=False) or [""]
        for cell, width in zip(row, widths, strict=True)
    ]
    lines = []
    for number in range(max(map(len, cells))):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        padded = [part.ljust(width) for part, width in zip(parts, widths, strict=True)]
        style = {"bold": True} if bold else {"fg": _NAME}
        first = click.style(padded[0], **style) if parts[0] else padded[0]
        rest = [click.style(text, bold=True) if bold else text for text in padded[1:]]
        lines.append(_GAP.join([first, *rest]).rstrip())
    return lines
