"""Plans: a recipe and tables of contents turned into jobs; no weights are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmerge.rooms import offering

if TYPE_CHECKING:
    from bmerge.plan.blocks import BLOCK_TYPES
    from bmerge.plan.build import build_plan, make_plan
    from bmerge.plan.description import describe, measured
    from bmerge.plan.encode import encoded
    from bmerge.plan.jobs import (
        CopyJob,
        Encoding,
        FillJob,
        Job,
        Jobs,
        Measure,
        MergeJob,
        OutputTensor,
        Plan,
        SplitJob,
        Totals,
    )
    from bmerge.plan.match import Matching, match_tensors
    from bmerge.plan.steps import Methods, PlannedStep, graph_of
else:
    _HOMES = {
        "bmerge.plan.blocks": "BLOCK_TYPES",
        "bmerge.plan.build": "build_plan make_plan",
        "bmerge.plan.description": "describe measured",
        "bmerge.plan.encode": "encoded",
        "bmerge.plan.jobs": (
            "CopyJob Encoding FillJob Job Jobs Measure MergeJob OutputTensor Plan SplitJob Totals"
        ),
        "bmerge.plan.match": "Matching match_tensors",
        "bmerge.plan.steps": "Methods PlannedStep graph_of",
    }
    __getattr__ = offering(__name__, _HOMES)

__all__ = [
    "BLOCK_TYPES",
    "CopyJob",
    "Encoding",
    "FillJob",
    "Job",
    "Jobs",
    "Matching",
    "Measure",
    "MergeJob",
    "Methods",
    "OutputTensor",
    "Plan",
    "PlannedStep",
    "SplitJob",
    "Totals",
    "build_plan",
    "describe",
    "encoded",
    "graph_of",
    "make_plan",
    "match_tensors",
    "measured",
]
