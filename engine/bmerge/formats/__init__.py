"""Checkpoints on disk: opening them, what they hold, and their hashes."""

from __future__ import annotations

from bmerge.formats.checkpoint import Checkpoint, ComposedTensor, Piece, Tensor, TensorInfo
from bmerge.formats.coded import Codec, CodedTensor, native_input, values_of
from bmerge.formats.composed import elements_of, pieces_of, rows_of, runs_of
from bmerge.formats.hashes import cached_sha256, checkpoint_sha256, sha256_of
from bmerge.formats.one_layout import in_one_layout
from bmerge.formats.open import open_checkpoint
from bmerge.formats.prefixes import is_part_alone, leading, prefix_of
from bmerge.formats.quantised import (
    QuantisedWeight,
    as_floats,
    decoded,
    quantised_weights,
    refuse_quantised,
)
from bmerge.formats.stored import read_bytes

__all__ = [
    "Checkpoint",
    "Codec",
    "CodedTensor",
    "ComposedTensor",
    "Piece",
    "QuantisedWeight",
    "Tensor",
    "TensorInfo",
    "as_floats",
    "cached_sha256",
    "checkpoint_sha256",
    "decoded",
    "elements_of",
    "in_one_layout",
    "is_part_alone",
    "leading",
    "native_input",
    "open_checkpoint",
    "pieces_of",
    "prefix_of",
    "quantised_weights",
    "read_bytes",
    "refuse_quantised",
    "rows_of",
    "runs_of",
    "sha256_of",
    "values_of",
]
