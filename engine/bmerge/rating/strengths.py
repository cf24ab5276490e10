"""Strengths from comparisons: a Bradley-Terry model with ties and a weak prior.

Davidson's model (1970, "On extending the Bradley-Terry model to accommodate ties in paired
comparison experiments"). With strengths θ on the logarithmic scale and a common parameter τ of
ties, the chances of "first", "second" and "tie" are proportional to

    exp(θ₁)    exp(θ₂)    exp(τ + (θ₁ + θ₂) / 2)

Every strength has the prior N(0, 2²), τ has N(0, 1): a trial that won all its comparisons stays
finite. The logarithm of the posterior is strictly concave, so Newton's method finds its only
maximum; the inverse of its curvature there is the covariance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from bmerge.records import dataclass

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["AnsweredPair", "Outcome", "Strengths", "fit_strengths"]

Outcome = Literal["first", "second", "tie"]

_OUTCOMES: tuple[Outcome, ...] = ("first", "second", "tie")
_PRIOR = 2.0  # standard deviation of a strength
_PRIOR_TIES = 1.0  # of the logarithm of the parameter of ties
_NEAR = 1e-8  # gain in log-posterior below which whole Newton steps are safe
_FOUND = 1e-20  # gain below which the strengths are found


@dataclass(frozen=True, slots=True)
class AnsweredPair:
    """One answered comparison.

    Args:
        first: a trial.
        second: another trial.
        outcome: which was better.
        weight: how much it counts, above 0.
    """

    first: int
    second: int
    outcome: Outcome
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Strengths:
    """What the comparisons say of each trial.

    A difference of 1 means that the stronger one is preferred e times as often as the weaker.

    Args:
        trials: in the order of the arrays; the first is the anchor, whose strength is 0.
        values: strength of each.
        covariance: of the strengths before they were anchored.
        ties: the parameter τ.
    """

    trials: tuple[int, ...]
    values: Floats
    covariance: Floats
    ties: float

    def of(self, trial: int) -> float:
        """Return a trial's strength."""
        return float(self.values[self.trials.index(trial)])

    def error(self, trial: int, other: int | None = None) -> float:
        """Return the standard error of a strength against another trial's, or the anchor's."""
        i = self.trials.index(trial)
        j = 0 if other is None else self.trials.index(other)
        c = self.covariance
        return math.sqrt(max(0.0, c[i, i] + c[j, j] - 2 * c[i, j]))

    def information(self, one: int, other: int) -> float:
        """Return how much one more comparison of two trials is expected to tell.

        The Fisher information on their difference times its variance: great where the outcome
        is open and the difference is not known yet.
        """
        import numpy as np

        half = (self.of(one) - self.of(other)) / 2
        p, q, _ = _softmax(np.array([half, -half, self.ties]))
        return float((p + q) / 4 - (p - q) ** 2 / 4) * self.error(one, other) ** 2


def fit_strengths(comparisons: Sequence[AnsweredPair], trials: Sequence[int]) -> Strengths:
    """Return the most probable strengths.

    Args:
        comparisons: of any of ``trials``.
        trials: the anchor first; one that was never compared keeps the prior.
    """
    import numpy as np

    order = {trial: index for index, trial in enumerate(trials)}
    count = len(order) + 1
    design, answers, weights = _tables(comparisons, order)
    precision = np.diag([_PRIOR**-2] * len(order) + [_PRIOR_TIES**-2])

    def log_posterior(x: Floats) -> float:
        utilities = design @ x
        likelihood = (answers * utilities).sum(axis=1) - _log_sum(utilities)
        return float(weights @ likelihood - x @ precision @ x / 2)

    x = np.zeros(count)
    while True:
        chances = _softmax(design @ x)
        gradient = np.einsum("m,mo,mop->p", weights, answers - chances, design) - precision @ x
        curvature = _information(design, chances, weights) + precision
        step = np.linalg.solve(curvature, gradient)
        gain = float(gradient @ step)  # twice what the step would win if all were quadratic
        if gain < _FOUND:
            break
        before, scale = log_posterior(x), 1.0
        while gain > _NEAR and log_posterior(x + scale * step) < before + scale * gain / 10:
            scale /= 2
        x = x + scale * step
    covariance: Floats = np.asarray(np.linalg.inv(curvature), dtype=np.float64)[:-1, :-1]
    return Strengths(tuple(order), x[:-1] - x[0], covariance, float(x[-1]))


def _tables(
    comparisons: Sequence[AnsweredPair], order: dict[int, int]
) -> tuple[Floats, Floats, Floats]:
    """Return the utilities' design (comparison, outcome, parameter), the answers, the weights."""
    import numpy as np

    count = len(comparisons)
    design = np.zeros((count, 3, len(order) + 1))
    answers = np.zeros((count, 3))
    for row, comparison in enumerate(comparisons):
        i, j = order[comparison.first], order[comparison.second]
        design[row, 0, i] = design[row, 1, j] = 1.0
        design[row, 2, [i, j]] = 0.5
        design[row, 2, -1] = 1.0
        answers[row, _OUTCOMES.index(comparison.outcome)] = 1.0
    return design, answers, np.array([c.weight for c in comparisons], dtype=float)


def _information(design: Floats, chances: Floats, weights: Floats) -> Floats:
    """Return the negative second derivatives of the log-likelihood."""
    import numpy as np

    mean = np.einsum("mo,mop->mp", chances, design)
    second = np.einsum("m,mo,mop,moq->pq", weights, chances, design, design, optimize=True)
    information: Floats = second - np.einsum("m,mp,mq->pq", weights, mean, mean, optimize=True)
    return information


def _log_sum(utilities: Floats) -> Floats:
    import numpy as np

    top = utilities.max(axis=-1)
    total: Floats = top + np.log(np.exp(utilities - top[..., None]).sum(axis=-1))
    return total


def _softmax(utilities: Floats) -> Floats:
    import numpy as np

    chances: Floats = np.exp(utilities - _log_sum(utilities)[..., None])
    return chances
