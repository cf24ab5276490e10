"""sum_twice: a weighted sum of two models, then of the result and a third."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, Weight, hookimpl, merge_method
from bmerge_plugins.methods._common import lerp


@merge_method(aliases=("ST",))
def sum_twice(a: Alike, b: Alike, c: Alike, *, alpha: Weight = 0.5, beta: Weight = 0.5) -> Alike:
    """Mix two models, then mix the result with a third.

    Formula: (1 - beta) * ((1 - alpha) * a + alpha * b) + beta * c

    Two merges in one, without an intermediate file: alpha is settled within a and b, beta says
    how much c counts beside both.

    Args:
        a: first model.
        b: second model.
        c: third model.
        alpha: b's share of the first mix.
        beta: c's share of the whole.

    Source: sum_twice of sd-meh, "sum Twice" of supermerger, ST of Chattiori's merger.
    """
    return lerp(lerp(a, b, alpha), c, beta)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [sum_twice]
