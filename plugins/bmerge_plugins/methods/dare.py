"""dare_linear, dare_ties: task vectors of which most elements are dropped at random."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, hookimpl, merge_method, ops
from bmerge_plugins.methods._task_vectors import Dropping, Election, KeptParts, WeightedSum


@merge_method(aliases=("dare", "DARE"))
def dare_linear(
    base: Alike,
    *models: Alike,
    parts: KeptParts = KeptParts(),
    summed: WeightedSum = WeightedSum(),
    dropping: Dropping = Dropping(),
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
        parts: what counts.
        summed: how it is added.
        dropping: at random.

    Source: DARE (Yu et al., 2023, arXiv:2311.03099); dare_linear of mergekit, DARE of
    Chattiori's merger (density 0.5). Random numbers follow from the recipe's seed and the key.
    """
    deltas = _dropped(base, models, parts.density, dropping)
    return summed.add(base, deltas, parts.weight)


@merge_method
def dare_ties(
    base: Alike,
    *models: Alike,
    parts: KeptParts = KeptParts(),
    summed: WeightedSum = WeightedSum(),
    dropping: Dropping = Dropping(),
    election: Election = Election(),
) -> Alike:
    """Add a random part of what each model has learned, with one sign for each weight.

    Formula: as dare_linear, but what has not the elected sign is left out of both sums

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        parts: what counts.
        summed: how it is added.
        dropping: at random.
        election: of signs.

    Source: DARE (Yu et al., 2023, arXiv:2311.03099) with TIES (Yadav et al., 2023,
    arXiv:2306.01708); dare_ties of mergekit.
    """
    deltas = _dropped(base, models, parts.density, dropping)
    return summed.add(base, deltas, parts.weight, election)


def _dropped(
    base: ops.Tensor,
    models: Iterable[ops.Tensor],
    density: Iterable[ops.Tensor],
    dropping: Dropping,
) -> list[ops.Tensor]:
    pairs = zip(models, density, strict=True)
    return [
        dropping.drop(model - base, fraction, stream)
        for stream, (model, fraction) in enumerate(pairs)
    ]


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer both methods."""
    return [dare_linear, dare_ties]
