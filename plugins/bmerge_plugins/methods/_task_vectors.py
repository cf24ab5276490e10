"""What the methods over task vectors (differences of models to their base) share.

Sparsify each task vector, multiply by its weight, let the models vote on each weight's sign,
add up, divide, add to the base: methods differ in which of these steps they have, and how.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

from bmerge import Range, ops
from bmerge_plugins.methods._common import quotient, total

__all__ = [
    "Density",
    "Rescale",
    "Scale",
    "Vote",
    "add_weighted",
    "agreement",
    "divisor",
    "drop",
    "rescaled",
    "trim",
]  # fmt: skip

Density: TypeAlias = Annotated[float, Range(0.05, 1, minimum=0, maximum=1)]
"""The fraction of a task vector's elements that is kept."""
Scale: TypeAlias = Annotated[float, Range(0, 2)]
"""Factor of the merged task vector; "lambda" in papers."""
Rescale: TypeAlias = Literal["probability", "l1", "none"]
"""How what is left after dropping is magnified."""
Vote: TypeAlias = Literal["sum", "count"]
"""What decides a sign: the weighted differences' sum, or how many there are of each sign."""


def divisor(weights: ops.Tensor) -> ops.Tensor:
    """Return a sum of weights that can be divided by: 1 where it is 0."""
    return ops.where(ops.abs(weights) < 1e-8, 1.0, weights)


def trim(delta: ops.Tensor, density: ops.Tensor) -> ops.Tensor:
    """Keep the ``density`` of a tensor's elements with the greatest absolute values."""
    n = ops.numel(delta)
    keep = ops.trunc(density * n)
    least = ops.where(keep >= 1, ops.kth_abs(delta, n - keep + 1), math.inf)
    return ops.where(ops.abs(delta) >= least, delta, 0.0)


def drop(delta: ops.Tensor, density: ops.Tensor, rescale: Rescale, stream: int) -> ops.Tensor:
    """Keep each element with the probability ``density``; streams draw independently."""
    kept = ops.where(ops.random_uniform(delta, stream=stream) < density, delta, 0.0)
    return rescaled(delta, kept, density, rescale)


def rescaled(
    delta: ops.Tensor, kept: ops.Tensor, probability: ops.Tensor, rescale: Rescale
) -> ops.Tensor:
    """Magnify what is left of ``delta``, as ``rescale`` says."""
    if rescale == "probability":
        return kept * quotient(1.0, probability)
    if rescale == "l1":
        before, after = ops.sum(ops.abs(delta)), ops.sum(ops.abs(kept))
        return kept * quotient(before, after, 1.0)
    return kept


def add_weighted(
    base: ops.Tensor,
    deltas: Sequence[ops.Tensor],
    weight: Sequence[ops.Tensor],
    *,
    normalize: bool,
    scale: ops.Tensor,
    vote: Vote | None = None,
) -> ops.Tensor:
    """Add the weighted sum of task vectors to the base.

    Args:
        base: what the task vectors are differences to.
        deltas: the task vectors.
        weight: one for each.
        normalize: divide by the sum of the weights that took part.
        scale: factor of the sum.
        vote: leave out, for each element, the task vectors whose sign is not the elected one.
    """
    if not deltas:
        return base
    weighted = [w * delta for w, delta in zip(weight, deltas, strict=True)]
    if vote is None:
        mixed, weights = total(weighted), total(weight)
    else:
        agree = agreement(weighted, vote)
        mixed = total(ops.where(a, v, 0.0) for a, v in zip(agree, weighted, strict=True))
        weights = total(ops.where(a, w, 0.0) for a, w in zip(agree, weight, strict=True))
    return base + scale * (mixed / divisor(weights) if normalize else mixed)


def agreement(values: Sequence[ops.Tensor], vote: Vote) -> list[ops.Tensor]:
    """Tell for each value whether it has the elected sign; 0 never has."""
    if vote == "count":
        elected = ops.sign(total(ops.sign(value) for value in values))
    else:
        elected = ops.where(total(values) >= 0, 1.0, -1.0)
    return [value * elected > 0 for value in values]
