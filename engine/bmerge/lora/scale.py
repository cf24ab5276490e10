"""What the product of a layer's factors is multiplied by: its alpha over its rank.

Read without numpy, since the native core needs no more to bake most LoRAs.
"""

from __future__ import annotations

import math
import struct

from bmerge.dtypes import SIZES, is_float
from bmerge.errors import FormatError
from bmerge.formats import Tensor, values_of
from bmerge.formats.stored import read_bytes
from bmerge.lora.modules import Module

__all__ = ["SINGLE", "bias_scale_of", "read_number", "scale_of"]

SINGLE = ("alpha", "scalar")
"""Roles of tensors of one number."""


def scale_of(module: Module) -> float:
    """Return what the product of a layer's factors is multiplied by."""
    alpha, scalar = (
        read_number(module.tensors[role]) if role in module.tensors else None for role in SINGLE
    )
    scale = 1.0 if scalar is None else scalar
    rank, configured = module.rank, module.configured
    if alpha is not None:
        return scale if rank is None else scale * alpha / rank
    if rank is None and configured is not None and module.network == "LoKr":
        rank = configured.rank  # to PEFT the scale of two whole matrices is alpha / r too
    return scale if rank is None or configured is None else scale * configured.scale(rank)


def bias_scale_of(module: Module) -> float:
    """Return what the change of a layer's bias is multiplied by."""
    return scale_of(module) if module.bias_is_scaled else 1.0


def read_number(info: Tensor) -> float:
    """Read a tensor of one number, of any dtype.

    Raises:
        FormatError: if it is not finite, or the file has become shorter.
    """
    data = read_bytes(info)
    if is_float(info.dtype):
        (value,) = struct.unpack("<f", values_of(info, 0, 1))
    else:
        value = int.from_bytes(data[: SIZES[info.dtype]], "little", signed=info.dtype[0] == "I")
    if not math.isfinite(value):
        message = f"{info.file}: {info.key!r} is {value}"
        raise FormatError(message, path=info.file, key=info.key)
    return float(value)
