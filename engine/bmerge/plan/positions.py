"""Tensors that are no weights: position ids, which count from 0, and other integers."""

from __future__ import annotations

import struct

from bmerge.dtypes import is_float
from bmerge.formats import TensorInfo

__all__ = ["are_other_integers", "is_merged", "repaired_ids"]

_POSITION_IDS = "embeddings.position_ids"
_CHUNK = 1 << 20
_COMPARED = 16 << 20
"""Bytes of a tensor that are compared: what models count and look up has less."""


def is_merged(info: TensorInfo) -> bool:
    """Tell whether a tensor is one of weights; integers and position ids are never merged."""
    return is_float(info.dtype) and not info.key.endswith(_POSITION_IDS)


def repaired_ids(info: TensorInfo) -> bytes | None:
    """Return what position ids must hold, or None if they do: a few hundred bytes are read."""
    if not info.key.endswith(_POSITION_IDS):
        return None
    counted = struct.pack(f"<{info.numel}q", *range(info.numel))
    if is_float(info.dtype):
        return counted
    with info.file.open("rb") as file:
        file.seek(info.offset)
        return None if info.dtype != "I64" or file.read(info.nbytes) == counted else counted


def are_other_integers(first: TensorInfo, other: TensorInfo) -> bool:
    """Tell whether two tensors of one key hold other integers; position ids are always repaired."""
    if first.key.endswith(_POSITION_IDS):
        return False
    if (first.dtype, first.shape) != (other.dtype, other.shape):
        return True
    with first.file.open("rb") as one, other.file.open("rb") as two:
        one.seek(first.offset)
        two.seek(other.offset)
        for begin in range(0, min(first.nbytes, _COMPARED), _CHUNK):
            count = min(_CHUNK, first.nbytes - begin)
            if one.read(count) != two.read(count):
                return True
    return False
