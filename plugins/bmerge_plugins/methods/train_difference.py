"""train_difference: a difference, as if the model itself had been trained."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import MergeMethod, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import quotient


@merge_method(aliases=("trainDifference", "TD"))
def train_difference(
    a: ops.Tensor, b: ops.Tensor, c: ops.Tensor, *, alpha: Weight = 1.0
) -> ops.Tensor:
    """Add what b has learned beyond c, as far as a has not learned it too.

    Formula: a + 1.8 * alpha * (b - c) * |b - a| / (|b - a| + |b - c|); a where b = c

    Where a is at b already, nothing is added. Gives sharper results than add_difference for
    models that have been trained on similar pictures.

    Args:
        a: model that is added to.
        b: model that was trained from c.
        c: base of b.
        alpha: how much of the difference.

    Source: "trainDifference" of supermerger, TD of Chattiori's merger, train_difference_mask of
    sd-mecha.
    """
    to_a, to_c = ops.abs(b - a), ops.abs(b - c)
    return a + (b - c) * (1.8 * alpha * quotient(to_a, to_a + to_c))


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [train_difference]
