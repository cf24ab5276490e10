"""Position ids of CLIP text encoders: they count from 0, whatever other tools have made of them."""

from __future__ import annotations

import struct

from bmerge.dtypes import is_float
from bmerge.formats import TensorInfo

__all__ = ["is_merged", "repaired_ids"]

_POSITION_IDS = "embeddings.position_ids"


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
