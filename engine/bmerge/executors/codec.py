"""Between the bytes of a file and float32 tensors; the same conversions as the native core's."""

from __future__ import annotations

import torch
from torch import Tensor

from bmerge.executors.rounding import FORMATS, encode_by_chance

__all__ = ["decode", "encode"]

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
LARGEST = {"F8_E4M3": 448.0, "F8_E5M2": 57344.0}


def decode(data: Tensor, dtype: str) -> Tensor:
    """Return the float32 values of bytes that hold numbers of a safetensors dtype."""
    return data.view(_DTYPES[dtype]).float()


def encode(
    values: Tensor, dtype: str, chance: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """Round float32 values to nearest even; beyond the largest of an 8-bit format, to that.

    Args:
        values: of any shape.
        dtype: safetensors tag of the result.
        chance: the seed and the first value's index, to round up or down by chance instead.

    Returns:
        The bytes, and a boolean without dimensions: whether all values are finite. What an
        8-bit format limits counts as finite unless it was infinite before.
    """
    if dtype in LARGEST:
        finite = torch.isfinite(values).all()
        rounded = values.clamp(-LARGEST[dtype], LARGEST[dtype]).to(_DTYPES[dtype])
    else:
        rounded = values.to(_DTYPES[dtype])
        finite = torch.isfinite(rounded).all()
    if chance is not None and dtype in FORMATS:
        rounded = encode_by_chance(values, rounded, dtype, *chance)
    return rounded.contiguous().view(torch.uint8), finite
