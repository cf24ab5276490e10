"""The drawings of a report one by one, as a notebook shows them."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bmerge.pages import environment
from bmerge.records import dataclass
from bmerge.report.blocks import draw_blocks
from bmerge.report.charts import Scatter, convergence, fronts, phases, scatters
from bmerge.report.data import ReportData
from bmerge.report.load import load_report_data
from bmerge.report.page import TEMPLATES

__all__ = ["Figure", "draw_figures"]

_FRAME = (
    '<iframe srcdoc="{page}" title="{name}" loading="lazy"'
    ' style="width:100%;height:{height}px;border:0"></iframe>'
)
_PAGE = (
    '<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    "<style>{style}</style><main>{body}</main>"
)


@dataclass(frozen=True, slots=True, repr=False)
class Figure:
    """One drawing of a report; a notebook shows it.

    Args:
        name: what it shows.
        markup: HTML with SVG in it.
        style: of the markup.
        height: of the frame that a notebook gives it, in pixels.
    """

    name: str
    markup: str
    style: str
    height: int = 480

    def __repr__(self) -> str:
        return f"<figure {self.name!r}>"

    def page(self) -> str:
        """Return a whole HTML page with nothing but the drawing."""
        return _PAGE.format(style=self.style, body=self.markup)

    def _repr_html_(self) -> str:
        page = html.escape(self.page(), quote=True)
        return _FRAME.format(page=page, name=html.escape(self.name), height=self.height)


def draw_figures(study_dir: Path) -> dict[str, Figure]:
    """Return the drawings of a stored study by name; those that there is nothing for are left out.

    Args:
        study_dir: the folder of a study, finished or not.

    Raises:
        StudyError: if the folder holds no study.
    """
    data = load_report_data(study_dir)
    templates = environment(TEMPLATES)
    style = templates.get_template("style.css").render()
    return {
        name: Figure(name, _drawn(templates, template, {"data": data, **values}), style)
        for name, template, values in _drawings(data)
    }


def _drawn(templates: Any, template: str, values: dict[str, Any]) -> str:
    legend = ""
    if "phases" in values:
        legend = templates.get_template("phases.html").render(values)
    return legend + str(templates.get_template(template).render(values))


def _drawings(data: ReportData) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (name, template, what it is filled with)."""
    known = phases(data)
    if (search := convergence(data)) is not None:
        values = {"convergence": search, "phases": known, "failures": search.failed}
        yield "convergence", "convergence.svg", values
    drawing = draw_blocks(data.blocks)
    for weights in data.weights:
        yield f"blocks {weights.name}", "blocks.svg", {"map": weights, "drawing": drawing}
    for plot in (*fronts(data), *scatters(data)):
        yield _name(plot), "scatter.svg", {"plot": plot, "phases": known, "failures": ()}


def _name(plot: Scatter) -> str:
    return f"{plot.y.label} against {plot.x.label}"
