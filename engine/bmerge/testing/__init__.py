"""For those who write plugins: conformance suites, and small checkpoints to try things on.

Each ``check_…`` raises an error that says what does not hold. bmerge's own plugins pass them.
"""

from __future__ import annotations

from bmerge.testing.checkpoints import (
    read_checkpoint,
    tiny_sd1,
    tiny_sdxl,
    write_checkpoint,
    write_random,
)
from bmerge.testing.generators import check_generator
from bmerge.testing.hooks import check_hooks
from bmerge.testing.merge_methods import check_merge_method
from bmerge.testing.optimisers import check_optimiser
from bmerge.testing.scorers import check_scorer, sample_pictures
from bmerge.testing.storages import check_storage

__all__ = [
    "check_generator",
    "check_hooks",
    "check_merge_method",
    "check_optimiser",
    "check_scorer",
    "check_storage",
    "read_checkpoint",
    "sample_pictures",
    "tiny_sd1",
    "tiny_sdxl",
    "write_checkpoint",
    "write_random",
]
