"""task_arithmetic: a base plus what several models have learned."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, hookimpl, merge_method
from bmerge_plugins.methods._task_vectors import ModelWeights, WeightedSum


@merge_method
def task_arithmetic(
    base: Alike,
    *models: Alike,
    weights: ModelWeights = ModelWeights(weight=0.3),
    summed: WeightedSum = WeightedSum(),
) -> Alike:
    """Add what any number of models have learned to their base.

    Formula: base + scale * sum of weight_i * (model_i - base), the sum divided by that of
        weight_i if normalize

    For several fine-tunes of one base, each for another style or subject. A negative weight
    takes away what a model has learned.

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        weights: of the models.
        summed: how it is added.

    Source: Task arithmetic (Ilharco et al., 2022, arXiv:2212.04089), whose best weight is about
    0.3; task_arithmetic of mergekit.
    """
    deltas = [model - base for model in models]
    return summed.add(base, deltas, weights.weight)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [task_arithmetic]
