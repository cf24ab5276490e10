"""della, della_linear: task vectors of which small elements are dropped with more probability."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias

from bmerge import Alike, MergeMethod, PerModel, Range, hookimpl, ops, tensor_method
from bmerge_plugins.methods._task_vectors import Dropping, Election, KeptParts, WeightedSum

Epsilon: TypeAlias = Annotated[float, Range(0, 0.3, minimum=0, maximum=1)]


@tensor_method
def della(
    base: Alike,
    *models: Alike,
    parts: KeptParts = KeptParts(),
    epsilon: PerModel[Epsilon] = 0.15,
    summed: WeightedSum = WeightedSum(normalize=True),
    dropping: Dropping = Dropping(),
    election: Election = Election(),
) -> Alike:
    """Add the greater part of what models have learned, with one sign for each weight.

    Formula: as della_linear, but what has not the elected sign is left out of both sums

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        parts: what counts.
        epsilon: how far the probabilities are from their mean, one for each model.
        summed: how it is added.
        dropping: at random.
        election: of signs.

    Source: DELLA (Deep et al., 2024, arXiv:2406.11617); della of mergekit.
    """
    deltas = _dropped(base, models, parts.density, epsilon, dropping)
    return summed.add(base, deltas, parts.weight, election)


@tensor_method
def della_linear(
    base: Alike,
    *models: Alike,
    parts: KeptParts = KeptParts(),
    epsilon: PerModel[Epsilon] = 0.15,
    summed: WeightedSum = WeightedSum(),
    dropping: Dropping = Dropping(),
) -> Alike:
    """Add a random part of what models have learned, rather its greater changes.

    Formula: of each model_i - base keep each element with the probability p, divided by p, with
        p = density_i - epsilon_i + 2 * epsilon_i * (rank of its absolute value in its row, from 0
        for the smallest to 1), limited to 0 … 1; base + scale * sum of weight_i * that, the sum
        divided by that of weight_i if normalize

    dare_linear drops all changes alike; this keeps the great ones more often.

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        parts: what counts.
        epsilon: how far the probabilities are from their mean, one for each model.
        summed: how it is added.
        dropping: at random.

    Source: DELLA (Deep et al., 2024, arXiv:2406.11617); della_linear of mergekit. A row is all
    that belongs to one index of dim 0; mergekit ranks along dim 1 of convolutions. Random numbers
    follow from the recipe's seed and the key.
    """
    deltas = _dropped(base, models, parts.density, epsilon, dropping)
    return summed.add(base, deltas, parts.weight)


def _dropped(
    base: ops.Tensor,
    models: Iterable[ops.Tensor],
    density: Iterable[float],
    epsilon: Iterable[float],
    dropping: Dropping,
) -> list[ops.Tensor]:
    deltas = []
    numbers = enumerate(zip(models, density, epsilon, strict=True))
    for stream, (model, mean, spread) in numbers:
        delta = model - base
        probability = (mean - spread + 2 * spread * _ranks(delta)).clip(0, 1)
        if mean >= 1:  # nothing is dropped, whatever the spread
            probability = probability.clip(1, 1)
        drawn = ops.random_uniform(delta, stream=stream)
        deltas.append(dropping.magnified(delta, delta.where(drawn < probability, 0.0), probability))
    return deltas


def _ranks(delta: ops.Tensor) -> ops.Tensor:
    """Return the rank of each element's size in its row, from 0 to 1; 0.5 if it is alone."""
    rows = delta.abs().reshape(delta.shape[0] if delta.ndim > 1 else 1, -1)
    ranks = rows.argsort(dim=1, stable=True).argsort(dim=1)
    last = rows.shape[1] - 1
    scaled = ranks / last if last else ranks + 0.5
    return scaled.reshape(delta.shape)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer both methods."""
    return [della, della_linear]
