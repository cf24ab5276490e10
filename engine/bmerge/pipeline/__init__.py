"""Running plans: into a file, atomically, or into live tensors; and many merges of one kind."""

from __future__ import annotations

from bmerge.pipeline.file import MergeReport, merge_to_file
from bmerge.pipeline.live import merge_into
from bmerge.pipeline.merger import Merger, TrialMerge
from bmerge.pipeline.metadata import build_metadata
from bmerge.pipeline.whole import TAKES, model_taken

__all__ = [
    "TAKES",
    "MergeReport",
    "Merger",
    "TrialMerge",
    "build_metadata",
    "merge_into",
    "merge_to_file",
    "model_taken",
]
