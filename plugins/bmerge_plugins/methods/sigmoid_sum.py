"""sigmoid_sum: a weighted sum whose weights are sigmoids."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import MergeMethod, Weight, hookimpl, merge_method, ops


@merge_method(aliases=("SIG",))
def sigmoid_sum(a: ops.Tensor, b: ops.Tensor, *, alpha: Weight = 0.5) -> ops.Tensor:
    """Mix two models with weights that a sigmoid makes of alpha.

    Formula: s(4 * alpha) * (a + b) - s(alpha) * a, with s(x) = 1 / (1 + exp(-x))

    At 0 it is half of b; a's weight is at most about a quarter. For recipes that were made with
    it.

    Args:
        a: first model.
        b: second model.
        alpha: how far b goes before a.

    Source: SIG of Chattiori's merger.
    """
    return _sigmoid(4 * alpha) * (a + b) - _sigmoid(alpha) * a


def _sigmoid(x: ops.Tensor) -> ops.Tensor:
    return 1 / (1 + ops.exp(-x))


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [sigmoid_sum]
