"""tensor_sum: some rows of each tensor from one model, the rest from another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from bmerge import Alike, MergeMethod, Range, hookimpl, merge_method, ops


@merge_method(aliases=("TS",))
def tensor_sum(
    a: Alike,
    b: Alike,
    *,
    alpha: Annotated[float, Range(0, 1, minimum=0, maximum=1)] = 0.5,
    beta: Annotated[float, Range(0, 1, minimum=0, maximum=1)] = 0.0,
) -> Alike:
    """Replace a range of a's rows by b's: alpha is how many, beta where they begin.

    Formula, with n rows (the size of dim 0) and int() as truncation:
        alpha + beta <= 1: a, with rows int(n * beta) to int(n * (alpha + beta)) from b;
        otherwise the range goes round past the end:
        b, with rows int(n * (alpha + beta - 1)) to int(n * beta) from a;
        alpha = 1: b.

    Values are not mixed but taken whole, so details of both models stay sharp; what becomes of
    it is hard to foresee, so it is a method to search with.

    Args:
        a: first model.
        b: second model.
        alpha: width: the share of rows that come from b.
        beta: offset: where they begin, as a share of all rows.

    Source: tensor_sum of sd-meh, "tensor" of supermerger, TS of Chattiori's merger. At alpha = 1
    they keep a row of a where alpha + beta - 1 is rounded to less than beta. tensor_sum of
    sd-mecha rounds to the nearest row.
    """
    row, rows = ops.row_index(a), ops.rows(a)
    start = ops.trunc(rows * beta)
    stop = ops.trunc(rows * (alpha + beta))
    stop_past_end = ops.trunc(rows * (alpha + beta - 1))
    from_b = (row >= start) & (row < stop)
    from_a = (row >= stop_past_end) & (row < start)
    part = ops.where(alpha + beta <= 1, ops.where(from_b, b, a), ops.where(from_a, a, b))
    return ops.where(alpha == 1, b, part)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [tensor_sum]
