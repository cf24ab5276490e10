"""weight_sum_cutoff: a weighted sum of those columns that are near enough, or far enough."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import MergeMethod, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import Share, lerp, quotient


@merge_method
def weight_sum_cutoff(
    a: ops.Tensor,
    b: ops.Tensor,
    *,
    alpha: Weight = 0.5,
    beta: Share = 1.0,
    gamma: Share = 0.0,
) -> ops.Tensor:
    """Mix two models in those columns whose nearness is between two limits.

    Formula: (1 - alpha) * a + alpha * b where gamma < n < beta, else a; n is the mean over dim 0
        of (max - |a - b|) / max, with max the greatest |a - b| of the tensor; 0 if that is 0

    Args:
        a: first model.
        b: second model.
        alpha: b's share.
        beta: greatest nearness of what is mixed.
        gamma: least nearness of what is mixed.

    Source: "Weight-sum cutoff" of untitledmerger.
    """
    apart = ops.abs(a - b)
    most = ops.max(apart)
    near = ops.mean(ops.where(most == 0, 0.0, quotient(most - apart, most)), axis=0)
    share = ops.where((gamma < near) & (near < beta), alpha, 0.0)
    return lerp(a, b, share)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [weight_sum_cutoff]
