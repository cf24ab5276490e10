"""top_k_tensor_sum: one model's values in the order of another's."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

from bmerge import Alike, MergeMethod, Range, hookimpl, ops, tensor_method


@tensor_method
def top_k_tensor_sum(
    a: Alike,
    b: Alike,
    *,
    alpha: Annotated[float, Range(0, 1)] = 1.0,
    beta: Annotated[float, Range(0, 1)] = 0.0,
) -> Alike:
    """Put a's values into the order of b's, for a range of them by absolute value.

    Formula: each element of the result has the place among a's sorted values that b's element has
        among b's, if that value v of a is in the range |a|_(s) < |v| <= |a|_(e); elsewhere a.
        |a|_(k) is the k-th smallest |a|; of n elements s = round(beta * n), e = round((alpha +
        beta) * n); where alpha + beta > 1 the range goes round past the end: s = round((alpha +
        beta - 1) * n), e = round(beta * n), and what is in it is a. A negative alpha puts the
        range before beta.

    The distribution of a with the arrangement of b: another way of taking over some of a model.

    Args:
        a: whose values are kept.
        b: whose order they take.
        alpha: width of the range, as a share of all elements.
        beta: where it begins.

    Source: top_k_tensor_sum of sd-meh; that of sd-mecha includes the lower end of the range.
    """
    flat = a.flatten()
    values = flat.msort()
    order = b.flatten().argsort(stable=True).argsort()
    start, stop, inverted = _region(alpha, beta, a.numel())
    sizes = values.abs()
    low, high = (_kth(sizes, k) for k in (start, stop))
    moved = (sizes > low) & (sizes <= high)
    moved = ~moved if inverted else moved
    return values[order].where(moved[order], flat).reshape(a.shape)


def _region(width: float, offset: float, n: int) -> tuple[int, int, bool]:
    """Return first and last rank of the range, and whether what is outside is meant."""
    if width < 0:
        offset, width = offset + width, -width
    width = min(width, 1.0)
    offset = math.fmod(1 + offset - int(offset) if offset < 0 else offset, 1.0)
    if width + offset <= 1:
        return round(offset * n), round((width + offset) * n), False
    return round((width + offset - 1) * n), round(offset * n), True


def _kth(sizes: ops.Tensor, k: int) -> float:
    return -1.0 if k <= 0 else float(sizes.kthvalue(k).values)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [top_k_tensor_sum]
