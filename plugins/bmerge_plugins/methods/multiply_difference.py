"""multiply_difference: the geometric mean of what two models have learned."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import MergeMethod, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import Share, lerp


@merge_method(aliases=("MD",))
def multiply_difference(
    a: ops.Tensor, b: ops.Tensor, c: ops.Tensor, *, alpha: Share = 0.5, beta: Weight = 0.5
) -> ops.Tensor:
    """Multiply the sizes of two models' differences to their base.

    Formula: c + copysign(|a - c|^(1 - alpha) * |b - c|^alpha, (1 - beta) * a + beta * b - c)

    Only where both models moved away from c is the result far from c, so it keeps what two
    fine-tunes agree to change and leaves the rest.

    Args:
        a: first fine-tune of c.
        b: second fine-tune of c.
        c: their base.
        alpha: how much b's difference counts for the size.
        beta: how much b counts for the sign.

    Source: multiply_difference of sd-meh, MD of Chattiori's merger.
    """
    size = ops.abs(a - c) ** (1 - alpha) * ops.abs(b - c) ** alpha
    return c + ops.copysign(size, lerp(a, b, beta) - c)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [multiply_difference]
