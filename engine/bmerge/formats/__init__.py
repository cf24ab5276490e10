"""Checkpoints on disk: opening them, what they hold, and their hashes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmerge.rooms import offering

if TYPE_CHECKING:
    from bmerge.formats.checkpoint import (
        POSITION_IDS,
        Checkpoint,
        ComposedTensor,
        Piece,
        Tensor,
        TensorInfo,
    )
    from bmerge.formats.coded import (
        Codec,
        CodedTensor,
        coded_part,
        holds_codes,
        native_input,
        values_of,
    )
    from bmerge.formats.composed import elements_of, pieces_of, rows_of, runs_of
    from bmerge.formats.damage import damage_of, nonfinite_scale
    from bmerge.formats.form import LAYOUTS, PARTS, Form
    from bmerge.formats.hashes import cached_sha256, checkpoint_sha256, sha256_of
    from bmerge.formats.one_layout import in_form, in_one_layout
    from bmerge.formats.open import open_checkpoint
    from bmerge.formats.prefixes import is_part_file, kind_of, leading, prefix_of
    from bmerge.formats.quantisation import QuantisedWeight
    from bmerge.formats.quantised import as_floats, decoded, quantised_weights, refuse_quantised
    from bmerge.formats.stored import read_bytes
else:
    _HOMES = {
        "bmerge.formats.checkpoint": (
            "POSITION_IDS Checkpoint ComposedTensor Piece Tensor TensorInfo"
        ),
        "bmerge.formats.coded": "Codec CodedTensor coded_part holds_codes native_input values_of",
        "bmerge.formats.composed": "elements_of pieces_of rows_of runs_of",
        "bmerge.formats.damage": "damage_of nonfinite_scale",
        "bmerge.formats.form": "LAYOUTS PARTS Form",
        "bmerge.formats.hashes": "cached_sha256 checkpoint_sha256 sha256_of",
        "bmerge.formats.one_layout": "in_form in_one_layout",
        "bmerge.formats.open": "open_checkpoint",
        "bmerge.formats.prefixes": "is_part_file kind_of leading prefix_of",
        "bmerge.formats.quantisation": "QuantisedWeight",
        "bmerge.formats.quantised": "as_floats decoded quantised_weights refuse_quantised",
        "bmerge.formats.stored": "read_bytes",
    }
    __getattr__ = offering(__name__, _HOMES)

__all__ = [
    "LAYOUTS",
    "PARTS",
    "POSITION_IDS",
    "Checkpoint",
    "Codec",
    "CodedTensor",
    "ComposedTensor",
    "Form",
    "Piece",
    "QuantisedWeight",
    "Tensor",
    "TensorInfo",
    "as_floats",
    "cached_sha256",
    "checkpoint_sha256",
    "coded_part",
    "damage_of",
    "decoded",
    "elements_of",
    "holds_codes",
    "in_form",
    "in_one_layout",
    "is_part_file",
    "kind_of",
    "leading",
    "native_input",
    "nonfinite_scale",
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
