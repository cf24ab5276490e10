"""Plans: a recipe and tables of contents turned into jobs; no weights are read."""

from __future__ import annotations

from bmerge.plan.blocks import TYPES as BLOCK_TYPES
from bmerge.plan.build import build_plan, make_plan
from bmerge.plan.describe import describe, measured
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
from bmerge.plan.part_files import part_files
from bmerge.plan.steps import Methods, PlannedStep, graph_of

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
    "part_files",
]
