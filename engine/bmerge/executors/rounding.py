"""Stochastic rounding in torch; bit for bit that of the native core.

A value between two numbers of a narrow dtype becomes the upper one with the probability by which
it is nearer to that, so that the mean of many roundings is the value itself.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from bmerge.expr import philox
from bmerge.records import dataclass

__all__ = ["FORMATS", "encode_by_chance"]

_PIECE = 1 << 20
"""Elements rounded at once: what they need beside the result stays small."""


@dataclass(frozen=True, slots=True)
class _Format:
    """A narrow format.

    Args:
        dtype: of torch.
        mantissa: bits of the fraction.
        bias: of the exponent.
        limit: from this on rounding to nearest, which gives infinity or the largest.
        largest: the largest finite number.
    """

    dtype: torch.dtype
    mantissa: int
    bias: int
    limit: float
    largest: float


FORMATS: Final = {
    "F16": _Format(torch.float16, 10, 15, 65520.0, 65504.0),
    "BF16": _Format(torch.bfloat16, 7, 127, 511.0 * 2.0**119, 255.0 * 2.0**120),
    "F8_E4M3": _Format(torch.float8_e4m3fn, 3, 7, torch.inf, 448.0),
    "F8_E5M2": _Format(torch.float8_e5m2, 2, 15, torch.inf, 57344.0),
}
"""Safetensors tag → the format."""


def encode_by_chance(values: Tensor, nearest: Tensor, dtype: str, seed: int, begin: int) -> Tensor:
    """Round float32 values up or down by chance.

    Args:
        values: of any shape.
        nearest: the same in the narrow dtype, rounded to nearest; taken where that is infinite,
            limited or NaN.
        dtype: safetensors tag, one of :data:`FORMATS`.
        seed: of the tensor's random numbers.
        begin: index of the first value in its tensor.

    Returns:
        Values of the narrow dtype, in the shape of ``nearest``.
    """
    form = FORMATS[dtype]
    integers = torch.int16 if form.dtype.itemsize == 2 else torch.int8
    result, flat = nearest.flatten().view(integers), values.flatten()
    for at in range(0, flat.numel(), _PIECE):
        piece, rounded = flat[at : at + _PIECE], result[at : at + _PIECE]
        draws = torch.from_numpy(philox.rounding(seed, begin + at, piece.numel()))
        finite = _bits(piece, form, draws.to(piece.device)).to(integers)
        sign = torch.where(torch.signbit(piece), torch.iinfo(integers).min, 0).to(integers)
        rounded.copy_(torch.where(piece.abs() < form.limit, finite | sign, rounded))
    return result.view(form.dtype).reshape(nearest.shape)


def _bits(values: Tensor, form: _Format, draws: Tensor) -> Tensor:
    """Return the bits without sign of finite values."""
    absolute = values.abs().clamp(max=form.largest)
    if form.dtype is torch.bfloat16:  # the bits of a float32 go on below its own
        return (absolute.view(torch.int32) + (draws * 65536.0).int()) >> 16
    least_normal = 128 - form.bias
    exponent = (absolute.view(torch.int32) >> 23).clamp(min=least_normal)
    scale = ((254 + form.mantissa - exponent) << 23).view(torch.float32)
    scaled = absolute * scale  # in units of the last place, a power of two: nothing is lost
    below = scaled.floor()
    up = (draws < scaled - below).int()
    return ((exponent - least_normal) << form.mantissa) + below.int() + up
