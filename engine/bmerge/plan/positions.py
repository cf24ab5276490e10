"""Tensors that are not weights: position ids, which count from 0, and other integers."""

from __future__ import annotations

import struct

from bmerge.dtypes import SIZES, is_float
from bmerge.formats import POSITION_IDS, Tensor, elements_of, read_bytes

__all__ = ["are_other_integers", "is_merged", "repaired_ids"]

_CHUNK = 1 << 20
_COMPARED = 16 << 20
"""Bytes of a tensor that are compared: what models count and look up has less."""


def is_merged(info: Tensor) -> bool:
    """Tell whether a tensor is one of weights; integers and position ids are never merged."""
    return is_float(info.dtype) and not info.key.endswith(POSITION_IDS)


def repaired_ids(info: Tensor) -> bytes | None:
    """Return what position ids must hold, or None if they do: a few hundred bytes are read."""
    if not info.key.endswith(POSITION_IDS):
        return None
    counted = struct.pack(f"<{info.numel}q", *range(info.numel))
    if is_float(info.dtype):
        return counted
    return None if info.dtype != "I64" or read_bytes(info) == counted else counted


def are_other_integers(first: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors of one key hold other integers; position ids are always repaired."""
    if first.key.endswith(POSITION_IDS):
        return False
    if (first.dtype, first.shape) != (other.dtype, other.shape):
        return True
    if first.dtype not in SIZES:  # several in a byte
        return read_bytes(first, _COMPARED) != read_bytes(other, _COMPARED)
    size = SIZES[first.dtype]
    step, compared = _CHUNK // size, min(first.numel, _COMPARED // size)
    for begin in range(0, compared, step):
        count = min(step, compared - begin)
        one, two = (read_bytes(elements_of(each, begin, count)) for each in (first, other))
        if one != two:
            return True
    return False
