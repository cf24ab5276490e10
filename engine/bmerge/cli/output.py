"""How results look: JSON, tables, sizes. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

__all__ = ["human_bytes", "human_time", "note", "print_json", "print_table"]


def print_json(value: Any) -> None:
    """Print ``value`` as JSON on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def note(message: str) -> None:
    """Say something that is not a result, on stderr."""
    click.echo(message, err=True)


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns as wide as their longest cell; the last one is left as it is."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


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
