"""How results look: JSON, tables, sizes. Results go to stdout, everything else to stderr.

The one seam between bmerge and the terminal: whatever comes from a file, a server or a plugin is
printed through here, where characters that would steer the terminal are shown, not sent.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO, TypeVar

import click

__all__ = [
    "human_bytes",
    "human_time",
    "json_option",
    "note",
    "print_json",
    "print_table",
    "printable",
    "show",
    "tell",
]

F = TypeVar("F", bound=Callable[..., Any])

_LONGEST = 2000
"""Characters of a line."""
_STEERING = (
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""What moves the cursor, colours, reorders or hides text; parts of names that are not UTF-8."""


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return ``text`` with characters that steer a terminal written as ``\x1b`` or ``\u202e``.

    Args:
        text: from anywhere.
        lines: whether line breaks stay what they are.
    """
    if not all(map(str.isprintable, text.split("\n"))):
        text = re.sub(_STEERING, _escaped, text)
    return text if lines else _shortened(text.replace("\n", "\\n"))


def _shortened(text: str) -> str:
    """Return one line without its middle if nobody would read it: a name may have a megabyte."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 4 :]}"


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def show(text: object, *, end: str = "\n") -> None:
    """Print a result, which may have several lines, on stdout."""
    _write(sys.stdout, printable(str(text), lines=True) + end)


def json_option(told: str = "Print JSON.") -> Callable[[F], F]:
    """Give a command the option ``--json``, as its argument ``as_json``; ``told`` is its help."""
    return click.option("--json", "as_json", is_flag=True, help=told)


def print_json(value: Any) -> None:
    """Print ``value`` as JSON on stdout."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # In JSON these stand within strings only, where an escape means the same.
    _write(sys.stdout, re.sub(_STEERING, lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def note(message: str, *, lines: bool = False) -> None:
    """Say something that is not a result, on stderr.

    A terminal or a reader that has gone is not a reason to stop what is going on.

    Args:
        message: one line.
        lines: whether it is allowed to have several.
    """
    with contextlib.suppress(OSError):
        _write(sys.stderr, printable(message, lines=lines) + "\n")


def _write(stream: TextIO, text: str) -> None:
    """Write what the stream's encoding cannot express as escapes."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        click.echo(text, file=stream, nl=False)
    except OSError as error:
        error.filename = error.filename or "standard output"
        raise


def tell(notes: Iterable[str], warnings: Iterable[str]) -> None:
    """Say what there is to know of a merge, one line each on stderr; warnings come last."""
    for line in notes:
        note(f"note: {line}")
    for line in warnings:
        note(f"warning: {line}")


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, titles: Sequence[str] = ()
) -> None:
    """Print rows in columns, folded to fit where stdout is a terminal.

    Args:
        header: of the columns.
        rows: of cells.
        titles: the group of each row, shown on a terminal; rows of a group follow each other.
    """
    from bmerge.cli.table import lines_of, terminal_width

    cells = [[printable(str(cell)) for cell in row] for row in rows]
    lines = lines_of(header, cells, width=terminal_width(), titles=titles)
    colours = "NO_COLOR" not in os.environ
    for line in lines:
        _write(sys.stdout, (line if colours else click.unstyle(line)) + "\n")


def human_bytes(number: float) -> str:
    """Return a size for people: ``1.4 GB`` (decimal units, as disks are sold)."""
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:  # more would be shown as 1000
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def human_time(seconds: float) -> str:
    """Return a duration for people: ``1:02:03`` or ``2:03``."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
