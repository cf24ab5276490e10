"""task_arithmetic: a base plus what several models have learned."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, PerModel, Weight, hookimpl, merge_method
from bmerge_plugins.methods._task_vectors import Scale, add_weighted


@merge_method
def task_arithmetic(
    base: Alike,
    *models: Alike,
    weight: PerModel[Weight] = 0.3,
    scale: Scale = 1.0,
    normalize: bool = False,
) -> Alike:
    """Add what any number of models have learned to their base.

    Formula: base + scale * sum of weight_i * (model_i - base), the sum divided by that of
        weight_i if normalize

    For several fine-tunes of one base, each for another style or subject. A negative weight
    takes away what a model has learned.

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        weight: one for each model.
        scale: factor of the sum; "lambda" of mergekit.
        normalize: divide by the sum of the weights.

    Source: Task arithmetic (Ilharco et al., 2022, arXiv:2212.04089), whose best weight is about
    0.3; task_arithmetic of mergekit.
    """
    deltas = [model - base for model in models]
    return add_weighted(base, deltas, weight, normalize=normalize, scale=scale)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [task_arithmetic]
