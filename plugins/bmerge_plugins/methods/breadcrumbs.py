"""breadcrumbs, breadcrumbs_ties: task vectors without their smallest and greatest elements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from bmerge import Alike, MergeMethod, PerModel, Range, hookimpl, merge_method, ops
from bmerge_plugins.methods._task_vectors import Election, KeptParts, WeightedSum

Gamma = Annotated[float, Range(0, 0.1, minimum=0, maximum=1)]


@merge_method
def breadcrumbs(
    base: Alike,
    *models: Alike,
    parts: KeptParts = KeptParts(density=0.9),
    gamma: PerModel[Gamma] = 0.01,
    summed: WeightedSum = WeightedSum(),
) -> Alike:
    """Add what models have learned without the smallest changes and the outliers.

    Formula: of the n elements of each model_i - base, in the order of their absolute values, leave
        out the int(gamma_i * n) greatest and keep the int(density_i * n) next to them (where so
        many are not left, fewer of the greatest are left out); base + scale * sum of weight_i *
        that, the sum divided by that of weight_i if normalize

    The greatest changes are often what makes merges break, the smallest are noise.

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        parts: what counts.
        gamma: fraction of the greatest that is left out, one for each model.
        summed: how it is added.

    Source: Model breadcrumbs (Davari & Belilovsky, 2023, arXiv:2312.06795); breadcrumbs of
    mergekit, which drops whole tensors that have less than 1 / gamma elements.
    """
    deltas = _between(base, models, parts.density, gamma)
    return summed.add(base, deltas, parts.weight)


@merge_method
def breadcrumbs_ties(
    base: Alike,
    *models: Alike,
    parts: KeptParts = KeptParts(density=0.9),
    gamma: PerModel[Gamma] = 0.01,
    summed: WeightedSum = WeightedSum(),
    election: Election = Election(),
) -> Alike:
    """Add what models have learned without extremes, with one sign for each weight.

    Formula: as breadcrumbs, but what has not the elected sign is left out of both sums

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        parts: what counts.
        gamma: fraction of the greatest that is left out, one for each model.
        summed: how it is added.
        election: of signs.

    Source: Model breadcrumbs (Davari & Belilovsky, 2023, arXiv:2312.06795) with TIES (Yadav et
    al., 2023, arXiv:2306.01708); breadcrumbs_ties of mergekit.
    """
    deltas = _between(base, models, parts.density, gamma)
    return summed.add(base, deltas, parts.weight, election)


def _between(
    base: ops.Tensor,
    models: Iterable[ops.Tensor],
    density: Iterable[ops.Tensor],
    gamma: Iterable[ops.Tensor],
) -> list[ops.Tensor]:
    triples = zip(models, density, gamma, strict=True)
    return [_without_extremes(model - base, *fractions) for model, *fractions in triples]


def _without_extremes(delta: ops.Tensor, density: ops.Tensor, gamma: ops.Tensor) -> ops.Tensor:
    n = ops.numel(delta)
    keep = ops.trunc(density * n)
    top = ops.minimum(ops.trunc(gamma * n), n - keep)
    size = ops.abs(delta)
    kept = (size >= ops.kth_abs(delta, n - keep - top + 1)) & (size <= ops.kth_abs(delta, n - top))
    return ops.where(kept & (keep >= 1), delta, 0.0)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer both methods."""
    return [breadcrumbs, breadcrumbs_ties]
