"""geometric_sum: the geometric mean of two models, weighted."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bmerge import MergeMethod, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import Share


@merge_method(aliases=("GEO",))
def geometric_sum(a: ops.Tensor, b: ops.Tensor, *, alpha: Share = 0.5) -> ops.Tensor:
    """Mix two models by multiplication: weights that are small in either become small.

    Formula: the real part of a^(1 - alpha) * b^alpha in complex numbers, that is
        |a|^(1 - alpha) * |b|^alpha, times cos(pi * (1 - alpha)) where only a is negative,
        cos(pi * alpha) where only b is, and -1 where both are

    Weights of different sign nearly cancel. Chattiori's GEO computes in real numbers and gives
    NaN wherever a weight is negative.

    Args:
        a: first model.
        b: second model.
        alpha: b's share.

    Source: geometric_sum of sd-mecha.
    """
    sign_if_a = ops.cos(math.pi * (1 - alpha))
    sign_if_b = ops.cos(math.pi * alpha)
    sign = ops.where(a < 0, ops.where(b < 0, -1.0, sign_if_a), ops.where(b < 0, sign_if_b, 1.0))
    mixed = sign * (ops.abs(a) ** (1 - alpha) * ops.abs(b) ** alpha)
    return ops.where(alpha == 0, a, ops.where(alpha == 1, b, mixed))


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [geometric_sum]
