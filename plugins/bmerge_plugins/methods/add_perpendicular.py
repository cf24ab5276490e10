"""add_perpendicular: that part of a difference which another model does not have."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import MergeMethod, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import quotient


@merge_method
def add_perpendicular(
    a: ops.Tensor, b: ops.Tensor, c: ops.Tensor, *, alpha: Weight = 1.0
) -> ops.Tensor:
    """Add what b has learned, without the part that a has learned too.

    Formula: a + alpha * (y - x * <x, y> / ||x||^2), with x = a - c, y = b - c, over the whole
        tensor; a where x is all zeros

    b's change is split into a part along a's change, which is dropped, and one at right angles
    to it, which is added.

    Args:
        a: model that is added to, trained from c.
        b: model that was trained from c.
        c: their base.
        alpha: how much is added.

    Source: add_perpendicular of sd-mecha.
    """
    x, y = a - c, b - c
    squared = ops.vecdot(x, x)
    across = y - x * quotient(ops.vecdot(x, y), squared)
    return a + alpha * (ops.where(squared == 0, 0.0, 1.0) * across)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [add_perpendicular]
