"""dropout: the mean of what is left of task vectors after dropping at random."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from bmerge import Alike, MergeMethod, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import Share, quotient, total

Overlap: TypeAlias = Literal["independent", "disjoint", "shared"]


@merge_method(aliases=("n_supermario",))
def dropout(
    base: Alike,
    *models: Alike,
    alpha: Weight = 1.0,
    probability: Share = 0.9,
    rescale: Weight = 1.0,
    overlap: Overlap = "independent",
) -> Alike:
    """Average, for each weight, the changes of those models that a draw has left.

    Formula: base + alpha * (sum of what is left of all model_i - base) / max(1, how many are left)
        / (1 - probability)^rescale

    dare_linear divides by the number of models, this method by the number of those that are left
    in a place.

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        alpha: how much of the change.
        probability: with which an element is dropped; at 1 the result is the base.
        rescale: 1 magnifies what is left to make up for what is dropped, 0 does not.
        overlap: "independent" draws for each model, "disjoint" leaves one model at most in each
            place, "shared" leaves all or none.

    Source: dropout of sd-mecha ("n-supermario"), whose overlap is a number: 1, 0 and 2 here.
    Random numbers follow from the recipe's seed and the key.
    """
    if not models:
        return base
    left = _left(base, 1 - probability, len(models), overlap)
    changes = total(
        ops.where(mask, model - base, 0.0) for mask, model in zip(left, models, strict=True)
    )
    count = ops.maximum(total(ops.where(mask, 1.0, 0.0) for mask in left), 1.0)
    scale = ops.where(probability == 1, 0.0, quotient(1.0, (1 - probability) ** rescale))
    return base + alpha * scale * (changes / count)


def _left(base: ops.Tensor, keep: ops.Tensor, count: int, overlap: Overlap) -> Sequence[ops.Tensor]:
    """Tell for each model where its change is left."""
    if overlap == "independent":
        return [ops.random_uniform(base, stream=stream) < keep for stream in range(count)]
    drawn = ops.random_uniform(base)
    if overlap == "shared":
        return [drawn < keep] * count
    limits = [keep * (index / count) for index in range(count + 1)]
    return [(drawn >= low) & (drawn < high) for low, high in itertools.pairwise(limits)]


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [dropout]
