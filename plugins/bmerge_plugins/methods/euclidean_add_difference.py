"""euclidean_add_difference: two differences, joined as the sides of a right angle."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import MergeMethod, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import Share, lerp, quotient, total


@merge_method
def euclidean_add_difference(
    a: ops.Tensor, b: ops.Tensor, c: ops.Tensor, *, alpha: Share = 0.5
) -> ops.Tensor:
    """Join what two models have learned so that neither weakens the other.

    Formula: c + d / ||d|| * ||s||, with s = (1 - alpha) * a + alpha * b - c,
        d = copysign(sqrt((1 - alpha) * x^2 + alpha * y^2), s), x = (a - c) / ||a - c||,
        y = (b - c) / ||b - c||; norms are over the whole tensor, and x or y is 0 if its norm is

    The size of a change is the Euclidean mean of both models' changes, each scaled to the same
    length, so that the model with the smaller changes counts as much.

    Args:
        a: first fine-tune of c.
        b: second fine-tune of c.
        c: their base.
        alpha: how much b counts.

    Source: euclidean_add_difference of sd-meh, which gives NaN where a and b equal c.
    """
    sizes = [ops.vector_norm(model - c) for model in (a, b)]
    shares = (1 - alpha, alpha)
    x, y = (
        (model - c) * (quotient(1.0, size) * ops.sqrt(share))
        for model, size, share in zip((a, b), sizes, shares, strict=True)
    )
    change = lerp(a, b, alpha) - c
    joined = ops.copysign(ops.sqrt(x**2 + y**2), change)
    # The norm of d by itself would take a pass: that of x and y is the root of its share, or 0.
    counted = zip(shares, sizes, strict=True)
    norm = ops.sqrt(total(ops.where(size > 0, share, 0.0) for share, size in counted))
    return c + joined * quotient(ops.vector_norm(change), norm)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [euclidean_add_difference]
