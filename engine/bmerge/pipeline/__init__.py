"""Running plans: into a file, atomically, or into live tensors; and many merges of one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmerge.rooms import offering

if TYPE_CHECKING:
    from bmerge.pipeline.file import MergeReport, merge_to_file
    from bmerge.pipeline.live import merge_into
    from bmerge.pipeline.merger import Merger, TrialMerge
    from bmerge.pipeline.metadata import build_metadata
    from bmerge.pipeline.whole import TAKES, model_taken
else:
    _HOMES = {
        "bmerge.pipeline.file": "MergeReport merge_to_file",
        "bmerge.pipeline.live": "merge_into",
        "bmerge.pipeline.merger": "Merger TrialMerge",
        "bmerge.pipeline.metadata": "build_metadata",
        "bmerge.pipeline.whole": "TAKES model_taken",
    }
    __getattr__ = offering(__name__, _HOMES)

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
