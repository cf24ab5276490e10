"""Plans: a recipe and tables of contents turned into jobs; no weights are read."""

from __future__ import annotations

from bmerge.plan.build import build_plan, graph_of, make_plan
from bmerge.plan.describe import describe
from bmerge.plan.jobs import CopyJob, FillJob, MergeJob, OutputTensor, Plan, SplitJob
from bmerge.plan.match import Matching, match_tensors

__all__ = [
    "CopyJob",
    "FillJob",
    "Matching",
    "MergeJob",
    "OutputTensor",
    "Plan",
    "SplitJob",
    "build_plan",
    "describe",
    "graph_of",
    "make_plan",
    "match_tensors",
]
