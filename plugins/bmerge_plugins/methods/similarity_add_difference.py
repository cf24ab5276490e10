"""similarity_add_difference: a difference where models differ, a mean where they are alike."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import MergeMethod, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import lerp, quotient


@merge_method(aliases=("SIM",))
def similarity_add_difference(
    a: ops.Tensor, b: ops.Tensor, c: ops.Tensor, *, alpha: Weight = 0.5, beta: Weight = 0.5
) -> ops.Tensor:
    """Add a difference where a and b are unlike, and mix them where they are alike.

    Formula: (1 - s) * (a + alpha * (b - c)) + s * ((1 - alpha / 2) * a + alpha / 2 * b), with
        s = beta * (a * b / max(|a|, |b|)^2 + 1) / 2; beta where both are 0

    A gentler add_difference: weights that a and b share are not pushed beyond both.

    Args:
        a: model that is added to.
        b: model that was trained from c.
        c: base of b.
        alpha: how much of the difference.
        beta: how much similarity counts; 0 is add_difference.

    Source: similarity_add_difference of sd-meh, SIM of Chattiori's merger.
    """
    larger = ops.maximum(ops.abs(a), ops.abs(b))
    alike = (quotient(a, larger) * quotient(b, larger) + 1) / 2
    similarity = ops.where(larger == 0, beta, beta * alike)
    return lerp(a + alpha * (b - c), lerp(a, b, alpha / 2), similarity)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [similarity_add_difference]
