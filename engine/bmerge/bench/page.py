"""The benchmark as one HTML file that needs nothing else, in the style of a study's report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jinja2

import bmerge.report.page as report
from bmerge.bench.charts import forest, speed
from bmerge.bench.summary import Line

__all__ = ["render"]

_FOLDERS = [Path(__file__).parent / "templates", Path(report.__file__).parent / "templates"]


def render(lines: Sequence[Line], facts: Sequence[str]) -> str:
    """Return the page as text.

    Args:
        lines: of the table, in its order.
        facts: how it was made, one sentence each.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDERS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = report.number
    labels = list(dict.fromkeys(label for line in lines for label in line.means or ()))
    return environment.get_template("bench.html").render(
        lines=[line for line in lines if line.quality],
        failed=[line for line in lines if line.row.reason],
        labels=labels if len(labels) > 1 else [],
        facts=facts,
        speed=speed(lines),
        forest=forest(lines),
    )
