"""triple_sum: the weighted sum of three models."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, Weight, hookimpl, merge_method


@merge_method(aliases=("TRS",))
def triple_sum(a: Alike, b: Alike, c: Alike, *, alpha: Weight = 0.33, beta: Weight = 0.33) -> Alike:
    """Mix three models at once.

    Formula: (1 - alpha - beta) * a + alpha * b + beta * c

    The weighted sum of three models. Where alpha + beta is above 1, a counts negatively.

    Args:
        a: first model; it has what alpha and beta leave.
        b: second model.
        c: third model.
        alpha: b's share.
        beta: c's share.

    Source: triple_sum of sd-meh, "Triple sum" of supermerger, TRS of Chattiori's merger.
    """
    return (1 - alpha - beta) * a + alpha * b + beta * c


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [triple_sum]
