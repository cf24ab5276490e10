"""add_noise: one model with random numbers added."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from bmerge import MergeMethod, Range, hookimpl, merge_method, ops


@merge_method(aliases=("plus_random",))
def add_noise(a: ops.Tensor, *, alpha: Annotated[float, Range(0, 0.01)] = 0.001) -> ops.Tensor:
    """Add normally distributed random numbers to every weight.

    Formula: a + alpha * N(0, 1), with numbers that follow from the recipe's seed and the key

    Shows how much a model's pictures depend on small changes, and gives other pictures of the
    same kind.

    Args:
        a: the model.
        alpha: standard deviation of what is added.

    Source: "plus random" of supermerger, which has no seed and leaves out keys with to_out,
    proj_out or norm in their name.
    """
    return a + alpha * ops.random_normal(a)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [add_noise]
