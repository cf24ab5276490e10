"""ties, ties_add_difference: task vectors, trimmed and with one sign for each weight."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, PerModel, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import Share
from bmerge_plugins.methods._task_vectors import Density, Scale, Vote, add_weighted, trim


@merge_method(aliases=("ties_sum", "add_difference_ties"))
def ties(
    base: Alike,
    *models: Alike,
    weight: PerModel[Weight] = 1.0,
    density: PerModel[Density] = 0.2,
    scale: Scale = 1.0,
    normalize: bool = True,
    vote: Vote = "sum",
) -> Alike:
    """Merge what models have learned without letting them cancel each other.

    Formula: of each model_i - base keep the fraction density_i with the greatest absolute values,
        times weight_i; elect a sign for each weight; add up what has that sign, divided by the
        sum of its weight_i if normalize; base + scale * that

    Small changes are mostly noise, and changes of different sign make a plain sum weaker. Made
    for many fine-tunes of one base.

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        weight: one for each model.
        density: fraction that is kept, one for each model.
        scale: factor of the merged change; "lambda" of the paper and of mergekit.
        normalize: divide by the sum of the weights that took part.
        vote: "sum" elects the sign of the weighted sum, positive where it is 0; "count" that
            which more models have, and nothing is added where as many have the other.

    Source: TIES (Yadav et al., 2023, arXiv:2306.01708), whose density is 0.2; ties of mergekit
    (density 1 by default), ties_sum and add_difference_ties of sd-mecha (count by default, k for
    density).
    """
    pairs = zip(models, density, strict=True)
    deltas = [trim(model - base, fraction) for model, fraction in pairs]
    return add_weighted(base, deltas, weight, normalize=normalize, scale=scale, vote=vote)


@merge_method
def ties_add_difference(
    a: ops.Tensor, b: ops.Tensor, c: ops.Tensor, *, alpha: Weight = 1.0, beta: Share = 0.2
) -> ops.Tensor:
    """Merge what two models have learned beyond a third, by TIES.

    Formula: c + alpha * the mean of those of a - c and b - c that have the elected sign, where of
        each only the fraction beta with the greatest absolute values counts, and a sign is
        elected by the number of models that have it

    ties with vote = count, two models, and the base in the place where sd-meh has it.

    Args:
        a: first fine-tune of c.
        b: second fine-tune of c.
        c: their base.
        alpha: how much of the merged change.
        beta: fraction that is kept.

    Source: TIES (Yadav et al., 2023, arXiv:2306.01708); ties_add_difference of sd-meh. Its k-th
    value is kept here too: int((1 - beta) * n), at least 1.
    """
    deltas = [_top(model - c, beta) for model in (a, b)]
    return add_weighted(c, deltas, (1.0, 1.0), normalize=True, scale=alpha, vote="count")


def _top(delta: ops.Tensor, fraction: ops.Tensor) -> ops.Tensor:
    k = ops.maximum(ops.trunc((1 - fraction) * ops.numel(delta)), 1.0)
    return ops.where(ops.abs(delta) >= ops.kth_abs(delta, k), delta, 0.0)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer both methods."""
    return [ties, ties_add_difference]
