"""ties, ties_add_difference: task vectors, trimmed and with one sign for each weight."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import Share
from bmerge_plugins.methods._task_vectors import Election, KeptParts, WeightedSum, trim


@merge_method(aliases=("ties_sum", "add_difference_ties"))
def ties(
    base: Alike,
    *models: Alike,
    parts: KeptParts = KeptParts(weight=1.0, density=0.2),
    summed: WeightedSum = WeightedSum(normalize=True),
    election: Election = Election(),
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
        parts: what counts.
        summed: how it is added.
        election: of signs.

    Source: TIES (Yadav et al., 2023, arXiv:2306.01708), whose density is 0.2; ties of mergekit
    (density 1 by default), ties_sum and add_difference_ties of sd-mecha (count by default, k for
    density).
    """
    pairs = zip(models, parts.density, strict=True)
    deltas = [trim(model - base, fraction) for model, fraction in pairs]
    return summed.add(base, deltas, parts.weight, election)


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
    mean = WeightedSum(scale=alpha, normalize=True)
    return mean.add(c, deltas, (1.0, 1.0), Election(vote="count"))


def _top(delta: ops.Tensor, fraction: ops.Tensor) -> ops.Tensor:
    k = ops.maximum(ops.trunc((1 - fraction) * ops.numel(delta)), 1.0)
    return ops.where(ops.abs(delta) >= ops.kth_abs(delta, k), delta, 0.0)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer both methods."""
    return [ties, ties_add_difference]
