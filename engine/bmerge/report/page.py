"""Draw :class:`~bmerge.report.data.ReportData` as one HTML file that needs nothing else.

Style, drawings and script come from ``templates/``; pictures are embedded as WebP. Every text
is escaped by the template engine.
"""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import jinja2
from PIL import Image

from bmerge.colours import ink_on, weight_colour
from bmerge.report.blocks import draw_blocks
from bmerge.report.charts import convergence, fronts, phases, scatters
from bmerge.report.data import Candidate, ReportData, Shot
from bmerge.study.figures import figure

__all__ = ["environment", "render"]

_logger = logging.getLogger(__name__)

_GROUPS = 12
"""Prompts whose pictures are shown; the study's folder has the others."""

_SIDE = 320
"""Longer side, in pixels, that pictures are reduced to."""


def render(data: ReportData) -> tuple[str, tuple[str, ...]]:
    """Return the page as text, and the names of what it had to leave out.

    Args:
        data: what to show; prompts of which a picture is missing or damaged are left out.
    """
    lost = list(data.lost)
    groups = list(_side_by_side(data.candidates, lost))
    template = environment().get_template("page.html")
    text = template.render(
        data=data,
        lost=lost,
        best=data.best,
        phases=phases(data),
        convergence=convergence(data),
        scatters=scatters(data),
        fronts=fronts(data),
        drawing=draw_blocks(data.blocks),
        groups=groups,
        bars=_bars(data.candidates),
        parameters=list(dict.fromkeys(n for t in data.trials for n in t.parameters)),
        scorers=list(dict.fromkeys(n for t in data.trials for n in t.scores)),
    )
    return text, tuple(lost)


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
    made.globals.update(weight_colour=weight_colour, ink_on=ink_on)
    return made


def number(value: float | None, digits: int = 3) -> str:
    """Return a number for reading: ``digits`` decimals, or as many digits if it has none there."""
    if value is None:
        return "–"
    text = figure(value, digits)
    return f"\N{MINUS SIGN}{text[1:]}" if text.startswith("-") else text


def picture(path: Path) -> str:
    """Return a picture as a data URI, reduced to the size that the page can use."""
    with Image.open(path, formats=["PNG"]) as image:
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "WEBP", quality=88, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _side_by_side(
    candidates: Sequence[Candidate], lost: list[str]
) -> Iterator[tuple[Shot, list[tuple[Candidate, Shot, str]]]]:
    """Yield up to ``_GROUPS`` payloads, spread over all, with each candidate's picture of it.

    Args:
        candidates: whose pictures are compared.
        lost: gets the names of pictures that are damaged; their payloads are left out.
    """
    shown = [candidate for candidate in candidates if candidate.shots]
    if not shown:
        return
    common = [id_ for id_ in shown[-1].shots if all(id_ in c.shots for c in shown)]
    count = min(_GROUPS, len(common))
    wanted = [common[index * len(common) // count] for index in range(count)]
    rows: dict[str, list[tuple[Candidate, Shot, str]]] = {}
    for payload in dict.fromkeys((*wanted, *common)):
        row = [(c, c.shots[payload], _embedded(c.shots[payload], lost)) for c in shown]
        if all(uri for *_, uri in row):
            rows[payload] = row
        if len(rows) == count:
            break
    for payload in common:
        if payload in rows:
            yield shown[-1].shots[payload], rows[payload]


def _embedded(shot: Shot, lost: list[str]) -> str:
    """Return a picture as a data URI; of a damaged one nothing but its name among the lost."""
    try:
        return picture(shot.file)
    except Exception as error:  # Pillow raises many kinds for files that are cut off or made up
        _logger.debug("%s is left out", shot.file, exc_info=error)
        lost.append(shot.name)
        return ""


def _bars(candidates: Sequence[Candidate]) -> list[tuple[Candidate, float]]:
    """Return the candidates with the length of their bars, in percent of the longest."""
    scores = [candidate.score for candidate in candidates]
    floor, top = min([0.0, *scores]), max([0.0, *scores])
    half = top / 2 - floor / 2 or 1.0  # the whole may be beyond the greatest number
    return [(c, round(100 * ((c.score / 2 - floor / 2) / half), 2)) for c in candidates]
