"""add: a model, or a difference, plus differences."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, Difference, MergeMethod, PerModel, Weight, hookimpl, merge_method
from bmerge_plugins.methods._common import total


@merge_method
def add(a: Alike, *differences: Difference, weight: PerModel[Weight] = 1.0) -> Alike:
    """Add differences to a model, each with a weight of its own.

    Formula: a + sum of weight_i * difference_i

    For recipes of several steps, where a difference is "x - base", a file of one, or what a step
    has made of some.

    Args:
        a: what is added to; the result is of its kind.
        differences: what is added.
        weight: one for each difference.

    Source: Task arithmetic (Ilharco et al., 2022, arXiv:2212.04089); add_difference of sd-mecha
    with a difference as its second input, and its operator +.
    """
    return total([a, *(w * each for w, each in zip(weight, differences, strict=True))])


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [add]
