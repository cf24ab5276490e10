"""The benchmark as one HTML file that needs nothing else, in the style of a study's report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bmerge.bench.charts import forest, speed
from bmerge.bench.summary import SummaryLine
from bmerge.pages import environment

__all__ = ["render"]


def render(lines: Sequence[SummaryLine], facts: Sequence[str]) -> str:
    """Return the page as text.

    Args:
        lines: of the table, in its order.
        facts: how it was made, one sentence each.
    """
    labels = list(dict.fromkeys(label for line in lines for label in line.means or ()))
    templates = environment(Path(__file__).parent / "templates")
    return templates.get_template("bench.html").render(
        lines=[line for line in lines if line.quality],
        failed=[line for line in lines if line.row.reason],
        labels=labels if len(labels) > 1 else [],
        facts=facts,
        speed=speed(lines),
        forest=forest(lines),
    )
