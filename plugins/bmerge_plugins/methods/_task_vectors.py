"""What the methods over task vectors (differences of models to their base) share.

Sparsify each task vector, multiply by its weight, let the models vote on each weight's sign,
add up, divide, add to the base: methods differ in which of these steps they have, and how.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from bmerge import ParameterGroup, PerModel, Range, Weight, ops, option
from bmerge_plugins.methods._common import quotient, total

__all__ = [
    "Density",
    "Dropping",
    "Election",
    "KeptParts",
    "ModelWeights",
    "Scale",
    "Vote",
    "WeightedSum",
    "agreement",
    "divisor",
    "trim",
]

Density: TypeAlias = Annotated[float, Range(0.05, 1, minimum=0, maximum=1)]
"""The fraction of a task vector's elements that is kept."""
Scale: TypeAlias = Annotated[float, Range(0, 2)]
"""Factor of the merged task vector; "lambda" in papers."""
Rescale: TypeAlias = Literal["probability", "l1", "none"]
"""How what is left after dropping is magnified."""
Vote: TypeAlias = Literal["sum", "count"]
"""What decides a sign: the weighted differences' sum, or how many there are of each sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWeights(ParameterGroup):
    """How much each task vector counts."""

    weight: PerModel[Weight] = option(0.5, "one for each model")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptParts(ModelWeights):
    """How much each task vector counts, and how much of it."""

    density: PerModel[Density] = option(0.5, "fraction that is kept, one for each model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Election(ParameterGroup):
    """How the models vote on the sign of each weight."""

    vote: Vote = option(
        "sum",
        'what elects a sign: "sum" that of the weighted sum, positive where it is 0; "count" that '
        "which more models have, and nothing is added where as many have the other",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedSum(ParameterGroup):
    """How task vectors are added to the base."""

    scale: Scale = option(1.0, 'factor of the merged change; "lambda" of papers and of mergekit')
    normalize: bool = option(default=False, help="divide by the sum of the weights that took part")

    def add(
        self,
        base: ops.Tensor,
        deltas: Sequence[ops.Tensor],
        weight: Iterable[ops.Tensor],
        election: Election | None = None,
    ) -> ops.Tensor:
        """Add the weighted sum of task vectors to the base.

        Args:
            base: what the task vectors are differences to.
            deltas: the task vectors.
            weight: one for each.
            election: leaves out, for each element, the task vectors without the elected sign.
        """
        if not deltas:
            return base
        pairs = [(w, w * delta) for w, delta in zip(weight, deltas, strict=True)]
        if election is None:
            added, weights = total(v for _, v in pairs), total(w for w, _ in pairs)
        else:
            agree = agreement([v for _, v in pairs], election.vote)
            both = list(zip(agree, pairs, strict=True))
            added = total(ops.where(a, v, 0.0) for a, (_, v) in both)
            weights = total(ops.where(a, w, 0.0) for a, (w, _) in both)
        return base + self.scale * (added / divisor(weights) if self.normalize else added)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropping(ParameterGroup):
    """How what is left of a task vector after dropping elements at random is magnified."""

    rescale: Rescale = option(
        "probability",
        '"probability" divides each element by the probability that it is kept, as papers do; "l1" '
        "gives each task vector the same sum of absolute values as before, as mergekit does; "
        '"none" leaves it',
    )

    def drop(self, delta: ops.Tensor, density: ops.Tensor, stream: int) -> ops.Tensor:
        """Keep each element with the probability ``density``; streams draw independently."""
        kept = ops.where(ops.random_uniform(delta, stream=stream) < density, delta, 0.0)
        return self.magnified(delta, kept, density)

    def magnified(self, delta: ops.Tensor, kept: ops.Tensor, probability: ops.Tensor) -> ops.Tensor:
        """Magnify what is left of ``delta``."""
        if self.rescale == "probability":
            return kept * quotient(1.0, probability)
        if self.rescale == "l1":
            before, after = ops.sum(ops.abs(delta)), ops.sum(ops.abs(kept))
            return kept * quotient(before, after, 1.0)
        return kept


def divisor(weights: ops.Tensor) -> ops.Tensor:
    """Return a sum of weights that can be divided by: 1 where it is 0."""
    return ops.where(ops.abs(weights) < 1e-8, 1.0, weights)


def trim(delta: ops.Tensor, density: ops.Tensor) -> ops.Tensor:
    """Keep the ``density`` of a tensor's elements with the greatest absolute values."""
    n = ops.numel(delta)
    keep = ops.trunc(density * n)
    least = ops.where(keep >= 1, ops.kth_abs(delta, n - keep + 1), math.inf)
    return ops.where(ops.abs(delta) >= least, delta, 0.0)


def agreement(values: Sequence[ops.Tensor], vote: Vote) -> list[ops.Tensor]:
    """Tell for each value whether it has the elected sign; 0 never has."""
    if vote == "count":
        elected = ops.sign(total(ops.sign(value) for value in values))
    else:
        elected = ops.where(total(values) >= 0, 1.0, -1.0)
    return [value * elected > 0 for value in values]
