"""ties_extended, ties_with_dropout: TIES with other means, and after dropping at random."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from bmerge import (
    Alike,
    MergeMethod,
    ParameterGroup,
    Range,
    hookimpl,
    merge_method,
    ops,
    option,
    tensor_method,
)
from bmerge_plugins.methods._common import Share, stock_share, total
from bmerge_plugins.methods._span import median
from bmerge_plugins.methods._task_vectors import Density, Election, Scale, Vote, agreement, trim

Mean: TypeAlias = Literal["stock", "median", "plain"]
Epsilon: TypeAlias = Annotated[float, Range(0, 0.3, minimum=0, maximum=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimmedMean(ParameterGroup):
    """The mean of trimmed task vectors, without what does not have the elected sign."""

    density: Density = option(0.2, "fraction of each task vector that is kept")
    scale: Scale = option(1.0, "factor of the merged change")
    mean: Mean = option(
        "plain",
        '"stock" multiplies the mean by model stock\'s t, "median" takes the geometric median of '
        'the tensors, "plain" is ties',
    )

    def of(self, deltas: Sequence[ops.Tensor], vote: Vote) -> ops.Tensor:
        """Return it, not yet multiplied by ``scale``."""
        if not deltas:
            return 0.0
        cut = [trim(delta, self.density) for delta in deltas]
        agree = agreement(cut, vote)
        kept = [ops.where(a, delta, 0.0) for a, delta in zip(agree, cut, strict=True)]
        if self.mean == "median":
            return median(kept, [1.0] * len(kept))
        count = total(ops.where(a, 1.0, 0.0) for a in agree)
        merged = total(kept) / ops.maximum(count, 1.0)
        if self.mean == "plain" or len(kept) == 1:
            return merged
        return stock_share(kept, axis=-1) * merged


@merge_method(aliases=("ties_sum_extended", "add_difference_ties_extended"))
def ties_extended(
    base: Alike,
    *models: Alike,
    trimmed: TrimmedMean = TrimmedMean(mean="stock"),
    election: Election = Election(vote="count"),
) -> Alike:
    """Merge what models have learned by TIES, and trust it as far as the models agree.

    Formula: of each model_i - base keep the fraction density with the greatest absolute values,
        of that what has the elected sign; base + scale * their mean, which is t * sum / count,
        with count the number of models that take part in an element and t as of model_stock, of
        each vector of the last dimension; or their geometric median

    ties takes conflicting changes out. This also draws back what the models still disagree about
    (stock), or does not let one odd model pull the others along (median).

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        trimmed: what is added.
        election: of signs.

    Source: ties_sum_extended of sd-mecha, whose apply_stock means its opposite and whose t takes
    the angles of neighbouring models only; TIES (Yadav et al., 2023, arXiv:2306.01708), Model
    stock (Jang et al., 2024, arXiv:2403.19522).
    """
    deltas = [model - base for model in models]
    return base + trimmed.scale * trimmed.of(deltas, election.vote)


@tensor_method(aliases=("ties_sum_with_dropout", "add_ties_with_dare"))
def ties_with_dropout(
    base: Alike,
    *models: Alike,
    probability: Share = 0.9,
    epsilon: Epsilon = 0.0,
    trimmed: TrimmedMean = TrimmedMean(),
    rescale: bool = True,
    election: Election = Election(vote="count"),
) -> Alike:
    """Drop most of what models have learned at random, and merge the rest by TIES.

    Formula: of each model_i - base keep each element with the probability p, with
        p = 1 - probability + epsilon * (r / n - (n + 1) / (2 * n)), r the rank of its absolute
        value from 1 to n and n the number of elements, limited to 0 … 1; base + scale * what
        ties_extended makes of that, divided by 1 - probability if rescale

    dare_ties divides before the vote and does not trim; this trims after dropping.

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        probability: with which an element is dropped; at 1 the result is the base.
        epsilon: how much more often great changes are kept than small ones; 0 is DARE.
        trimmed: what is added.
        rescale: divide by 1 - probability.
        election: of signs.

    Source: ties_sum_with_dropout and add_ties_with_dare of sd-mecha (k for density, della_eps for
    epsilon); DARE (Yu et al., 2023, arXiv:2311.03099), DELLA (Deep et al., 2024,
    arXiv:2406.11617). Random numbers follow from the recipe's seed and the key.
    """
    if probability == 1 or not models:
        return base
    left = [
        _dropped(model - base, 1 - probability, epsilon, stream)
        for stream, model in enumerate(models)
    ]
    factor = trimmed.scale / (1 - probability) if rescale else trimmed.scale
    return base + factor * trimmed.of(left, election.vote)


def _dropped(delta: ops.Tensor, keep: float, epsilon: float, stream: int) -> ops.Tensor:
    probability = keep
    if epsilon:
        n = delta.numel()
        order = delta.abs().reshape(-1).argsort(stable=True).argsort().reshape(delta.shape)
        probability = (keep + epsilon * ((order + 1) / n - (n + 1) / (2 * n))).clip(0, 1)
    return ops.where(ops.random_uniform(delta, stream=stream) < probability, delta, 0.0)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer both methods."""
    return [ties_extended, ties_with_dropout]
