"""Draw :class:`~bmerge.report.data.ReportData` as one HTML file that needs nothing else.

Style, drawings and script come from ``templates/``; pictures are embedded as WebP. Every text
is escaped by the template engine.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import jinja2
from PIL import Image

from bmerge.report.blocks import draw_blocks
from bmerge.report.charts import convergence, fronts, phases, scatters
from bmerge.report.colours import ink_on, weight_colour
from bmerge.report.data import Candidate, ReportData, Shot
from bmerge.study.figures import figure

__all__ = ["environment", "render"]

_GROUPS = 12
"""Prompts whose pictures are shown; the study's folder has the others."""

_SIDE = 320
"""Longer side, in pixels, that pictures are reduced to."""


def render(data: ReportData) -> str:
    """Return the page as text.

    Args:
        data: what to show; pictures that are missing on disk are left out.
    """
    template = environment().get_template("page.html")
    return template.render(
        data=data,
        best=data.best,
        phases=phases(data),
        convergence=convergence(data),
        scatters=scatters(data),
        fronts=fronts(data),
        drawing=draw_blocks(data.blocks),
        groups=list(_side_by_side(data.candidates)),
        bars=_bars(data.candidates),
        parameters=list(dict.fromkeys(n for t in data.trials for n in t.parameters)),
        scorers=list(dict.fromkeys(n for t in data.trials for n in t.scores)),
    )


def environment(*folders: Path) -> jinja2.Environment:
    """Return what draws templates: those of the report, and before them those of ``folders``."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, Path(__file__).parent / "templates"]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = number
    made.globals.update(weight_colour=weight_colour, ink_on=ink_on, picture=picture)
    return made


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for reading: ``digits`` decimals, or as many digits if it has none there."""
    if value is None:
        return "–"
    text = figure(value, digits)
    return f"\N{MINUS SIGN}{text[1:]}" if text.startswith("-") else text


def picture(path: Path) -> str:
    """Return a picture as a data URI, reduced to the size that the page can use."""
    with Image.open(path) as image:
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "WEBP", quality=88, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _side_by_side(
    candidates: Sequence[Candidate],
) -> Iterator[tuple[Shot, list[tuple[Candidate, Shot]]]]:
    """Yield up to ``_GROUPS`` payloads, spread over all, with each candidate's picture of it."""
    shown = [candidate for candidate in candidates if candidate.shots]
    if not shown:
        return
    common = [
        payload
        for payload in shown[-1].shots
        if all(payload in c.shots and c.shots[payload].file.is_file() for c in shown)
    ]
    count = min(_GROUPS, len(common))
    for index in range(count):
        payload = common[index * len(common) // count]
        yield shown[-1].shots[payload], [(c, c.shots[payload]) for c in shown]


def _bars(candidates: Sequence[Candidate]) -> list[tuple[Candidate, float]]:
    """Return the candidates with the length of their bars, in percent of the longest."""
    scores = [candidate.score for candidate in candidates]
    floor, top = min([0.0, *scores]), max([0.0, *scores])
    half = top / 2 - floor / 2 or 1.0  # the whole may be beyond the greatest number
    return [(c, round(100 * ((c.score / 2 - floor / 2) / half), 2)) for c in candidates]
