"""The template engine as all pages use it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jinja2

from bmerge.colours import ink_on, weight_colour
from bmerge.trials.figures import figure

__all__ = ["SHARED", "environment", "number"]

SHARED = Path(__file__).parent / "templates"
"""Folder of the templates that all pages share."""


@functools.cache  # it keeps its templates compiled
def environment(*folders: Path) -> jinja2.Environment:
    """Return what draws the templates in ``folders`` and the shared ones; every text is escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = number
    made.filters["interval"] = _interval
    made.globals.update(weight_colour=weight_colour, ink_on=ink_on)
    return made


def _interval(bounds: Any) -> str:
    return f"{number(bounds.low)} … {number(bounds.high)}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for reading: ``digits`` decimals, or as many digits if it has none there."""
    if value is None:
        return "–"
    text = figure(value, digits)
    return f"\N{MINUS SIGN}{text[1:]}" if text.startswith("-") else text
