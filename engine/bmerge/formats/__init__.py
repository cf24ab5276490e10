"""Checkpoints on disk: opening them, what they hold, and their hashes."""

from __future__ import annotations

from bmerge.formats.checkpoint import Checkpoint, ComposedTensor, Piece, Tensor, TensorInfo
from bmerge.formats.hashes import cached_sha256, checkpoint_sha256, sha256_of
from bmerge.formats.open import open_checkpoint
from bmerge.formats.prefixes import in_one_layout, is_part_alone, leading, prefix_of
from bmerge.formats.quantised import QuantisedWeight, quantised_weights, refuse_quantised

__all__ = [
    "Checkpoint",
    "ComposedTensor",
    "Piece",
    "QuantisedWeight",
    "Tensor",
    "TensorInfo",
    "cached_sha256",
    "checkpoint_sha256",
    "in_one_layout",
    "is_part_alone",
    "leading",
    "open_checkpoint",
    "prefix_of",
    "quantised_weights",
    "refuse_quantised",
    "sha256_of",
]
