"""What the report and the live view show, as the values of their templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bmerge.report.blocks import draw_blocks
from bmerge.report.charts import convergence, fronts, phases, scatters
from bmerge.report.choosing import Source, common_pictures, side_by_side, slides, top_five
from bmerge.report.data import Candidate, ReportData, Shot

__all__ = ["parts"]

_GROUPS = 12
"""Prompts whose pictures are shown; the study's folder has the others."""
_TOP_GROUPS = 4


def parts(data: ReportData, source: Source, address: Callable[[Shot], str]) -> dict[str, Any]:
    """Return the values of the templates.

    Args:
        data: what is shown.
        source: of the pictures that are compared.
        address: of a picture in the gallery.
    """
    return {
        "data": data,
        "best": data.best,
        "phases": phases(data),
        "convergence": convergence(data),
        "scatters": scatters(data),
        "fronts": fronts(data),
        "drawing": draw_blocks(data.blocks),
        "groups": list(side_by_side(data.candidates, source, _GROUPS)),
        "common": len(common_pictures(data.candidates)),
        "top": list(side_by_side(top_five(data), source, _TOP_GROUPS)),
        "slides": list(slides(data, source)),
        "address": address,
        "bars": _bars(data.candidates),
        "parameters": list(dict.fromkeys(n for t in data.trials for n in t.parameters)),
        "scorers": list(dict.fromkeys(n for t in data.trials for n in t.scores)),
    }


def _bars(candidates: Sequence[Candidate]) -> list[tuple[Candidate, float]]:
    """Return the candidates with the length of their bars, in percent of the longest."""
    scores = [candidate.score for candidate in candidates]
    floor, top = min([0.0, *scores]), max([0.0, *scores])
    half = top / 2 - floor / 2 or 1.0  # the whole may be beyond the greatest number
    return [(c, round(100 * ((c.score / 2 - floor / 2) / half), 2)) for c in candidates]
