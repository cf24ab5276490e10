"""weighted_subtraction: take a share of one model out of another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from bmerge import MergeMethod, Range, hookimpl, merge_method, ops

LIMIT = 0.999
"""Greatest share that is taken out; at 1 the formula divides by 0."""


@merge_method
def weighted_subtraction(
    a: ops.Tensor,
    b: ops.Tensor,
    *,
    alpha: Annotated[float, Range(0, 1, minimum=0, maximum=1)] = 0.5,
    beta: Annotated[float, Range(0, 1, minimum=0, maximum=1)] = 0.5,
) -> ops.Tensor:
    """Take b out of a, as if a were a weighted sum that b is a part of.

    Formula: (a - s * b) / (1 - s), with s = min(alpha * beta, 0.999)

    Undoes a weighted_sum: if a = (1 - s) * x + s * b, the result is x. The closer s comes to 1,
    the more differences are magnified, by 1 / (1 - s); at 1 there is no result, so s is limited.

    Args:
        a: model that is taken from.
        b: model that is taken out.
        alpha: b's share in a.
        beta: factor of alpha.

    Source: weighted_subtraction of sd-meh, which at alpha = beta = 1 multiplies by 1e10 instead.
    """
    share = ops.minimum(alpha * beta, LIMIT)
    return (a - share * b) / (1 - share)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [weighted_subtraction]
