"""dare_linear, dare_ties: task vectors of which most elements are dropped at random."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, PerModel, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._task_vectors import Density, Rescale, Scale, Vote, add_weighted, drop


@merge_method(aliases=("dare", "DARE"))
def dare_linear(
    base: Alike,
    *models: Alike,
    weight: PerModel[Weight] = 0.5,
    density: PerModel[Density] = 0.5,
    scale: Scale = 1.0,
    normalize: bool = False,
    rescale: Rescale = "probability",
) -> Alike:
    """Add a random part of what each model has learned, magnified.

    Formula: of each model_i - base keep each element with the probability density_i, divided by
        density_i; base + scale * sum of weight_i * that, the sum divided by that of weight_i if
        normalize

    Fine-tunes change more weights than they need. Dropping most of the changes leaves fewer
    that two models both have, so that more models fit into one.

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        weight: one for each model.
        density: probability with which an element is kept, one for each model.
        scale: factor of the sum; "lambda" of mergekit.
        normalize: divide by the sum of the weights.
        rescale: "probability" divides by density, as the paper does; "l1" gives each task vector
            the same sum of absolute values as before, as mergekit does; "none" leaves it.

    Source: DARE (Yu et al., 2023, arXiv:2311.03099); dare_linear of mergekit, DARE of
    Chattiori's merger (density 0.5). Random numbers follow from the recipe's seed and the key.
    """
    deltas = _dropped(base, models, density, rescale)
    return add_weighted(base, deltas, weight, normalize=normalize, scale=scale)


@merge_method
def dare_ties(
    base: Alike,
    *models: Alike,
    weight: PerModel[Weight] = 0.5,
    density: PerModel[Density] = 0.5,
    scale: Scale = 1.0,
    normalize: bool = False,
    rescale: Rescale = "probability",
    vote: Vote = "sum",
) -> Alike:
    """Add a random part of what each model has learned, with one sign for each weight.

    Formula: as dare_linear, but what has not the elected sign is left out of both sums

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        weight: one for each model.
        density: probability with which an element is kept, one for each model.
        scale: factor of the sum; "lambda" of mergekit.
        normalize: divide by the sum of the weights that took part.
        rescale: as of dare_linear.
        vote: what elects a sign, as of ties.

    Source: DARE (Yu et al., 2023, arXiv:2311.03099) with TIES (Yadav et al., 2023,
    arXiv:2306.01708); dare_ties of mergekit.
    """
    deltas = _dropped(base, models, density, rescale)
    return add_weighted(base, deltas, weight, normalize=normalize, scale=scale, vote=vote)


def _dropped(
    base: ops.Tensor, models: Iterable[ops.Tensor], density: Iterable[ops.Tensor], rescale: Rescale
) -> list[ops.Tensor]:
    pairs = zip(models, density, strict=True)
    return [
        drop(model - base, fraction, rescale, stream)
        for stream, (model, fraction) in enumerate(pairs)
    ]


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer both methods."""
    return [dare_linear, dare_ties]
