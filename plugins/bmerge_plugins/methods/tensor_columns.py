"""tensor_columns: some columns of each tensor from one model, the rest from another."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, hookimpl, tensor_method
from bmerge_plugins.methods._common import Share


@tensor_method(aliases=("tensor2",))
def tensor_columns(a: Alike, b: Alike, *, alpha: Share = 0.5, beta: Share = 0.0) -> Alike:
    """Replace a range of a's columns by b's: alpha is how many, beta where they begin.

    Formula: tensor_sum along dim 1, with n columns; tensors of one dimension along that

    Args:
        a: first model.
        b: second model.
        alpha: width: the share of columns that come from b.
        beta: offset: where they begin, as a share of all columns.

    Source: "tensor2" of supermerger, which takes n from dim 0 where there are 100 columns or
    less.
    """
    dim = min(1, a.ndim - 1)
    n = a.shape[dim]
    if alpha == 1:
        return b
    if alpha + beta <= 1:
        result, other, start, stop = a.clone(), b, n * beta, n * (alpha + beta)
    else:
        result, other, start, stop = b.clone(), a, n * (alpha + beta - 1), n * beta
    length = max(int(stop) - int(start), 0)
    result.narrow(dim, int(start), length).copy_(other.narrow(dim, int(start), length))
    return result


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [tensor_columns]
