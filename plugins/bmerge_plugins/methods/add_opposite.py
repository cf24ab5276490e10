"""add_opposite, add_strict_opposite: a difference where two models went opposite ways."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import MergeMethod, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import quotient


@merge_method
def add_opposite(a: ops.Tensor, b: ops.Tensor, c: ops.Tensor, *, alpha: Weight = 1.0) -> ops.Tensor:
    """Add what b has learned, the more the further a went from b.

    Formula: a + 2 * alpha * (b - c) * |a - b| / (|a - b| + |a + b - 2 * c|); a if all are equal

    Differences that a and b share are left alone: the factor is 0 at a = b, and alpha where only
    one of them moved.

    Args:
        a: model that is added to, trained from c.
        b: model that was trained from c.
        c: their base.
        alpha: how much of the difference.

    Source: add_opposite_mask of sd-mecha.
    """
    apart, along = ops.abs(a - b), ops.abs((a - c) + (b - c))
    return a + (b - c) * (2 * alpha * quotient(apart, apart + along))


@merge_method
def add_strict_opposite(
    a: ops.Tensor, b: ops.Tensor, c: ops.Tensor, *, alpha: Weight = 1.0
) -> ops.Tensor:
    """Add what b has learned where a has gone the other way, and nowhere else.

    Formula: a + 2 * alpha * (b - c) * max(0, (c - a) * (b - c) / max(|a - c|, |b - c|)^2)

    Takes a back towards c where b contradicts it.

    Args:
        a: model that is added to, trained from c.
        b: model that was trained from c.
        c: their base.
        alpha: how much of the difference.

    Source: add_strict_opposite_mask of sd-mecha.
    """
    larger = ops.maximum(ops.abs(a - c), ops.abs(b - c))
    opposed = ops.maximum(quotient(c - a, larger) * quotient(b - c, larger), 0.0)
    return a + (b - c) * (2 * alpha * opposed)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer both methods."""
    return [add_opposite, add_strict_opposite]
