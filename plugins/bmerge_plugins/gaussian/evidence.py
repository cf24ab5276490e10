"""What is known of a space: scores, and which pictures they come from.

Two trials that were stopped early were judged by the same few pictures. Each of these has an offset
of its own, and likes one merge better than another; both are errors of the trials' scores, but the
same for both, or nearly so where the merges are like each other. So differences between such
trials are known far better than either score, and trials are not told as scores with independent
errors, but row by row: the mean of some pictures, and which pictures these are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bmerge_plugins.gaussian.kernel import Array

__all__ = ["Evidence", "Standardisation", "Told", "evidence_of", "standardised"]


@dataclass(frozen=True, slots=True)
class Told:
    """Trials as they are told.

    Args:
        points: rows of the unit cube.
        scores: of the points.
        variances: of the scores' errors.
        pictures: a row for each point, with a column for each picture: what the picture says, NaN
            where it was not painted. A complete trial's score is the mean of its row.
    """

    points: Array
    scores: Array
    variances: Array
    pictures: Array


@dataclass(frozen=True, slots=True)
class Evidence:
    """Standardised scores of points, each from all pictures or from some.

    Args:
        points: rows of the unit cube; several may be the same.
        scores: of the points.
        variances: of errors of the scores that have nothing to do with each other.
        shared: how many pictures two rows share, more than rows of all pictures do: for a row of m
            pictures and one of n that have k in common, out of N, k / (m n) − 1 / N. It is 0
            for a row of all pictures.
        own: the same where both rows are of one trial, else 0.
    """

    points: Array
    scores: Array
    variances: Array
    shared: Array
    own: Array

    @classmethod
    def plain(cls, points: Array, scores: Array, variances: Array) -> Evidence:
        """Return scores that share nothing."""
        nothing = np.zeros((len(points), len(points)))
        return cls(points, scores, variances, nothing, nothing)

    def joined(self, points: Array, scores: Array) -> Evidence:
        """Return the same with more points, whose scores are sure."""
        more = ((0, len(points)), (0, len(points)))
        return Evidence(
            np.concatenate([self.points, points]),
            np.concatenate([self.scores, scores]),
            np.concatenate([self.variances, np.zeros(len(points))]),
            np.pad(self.shared, more),
            np.pad(self.own, more),
        )


@dataclass(frozen=True, slots=True)
class Standardisation:
    """How scores are standardised: (score − mean) / deviation."""

    mean: float
    deviation: float


def standardised(scores: Array) -> tuple[Array, Standardisation]:
    """Return scores of mean 0 and variance 1, as far as they differ, and how they became that.

    They may be of any finite size: the greatest is brought to 1 first, so that no sum overflows.
    """
    unit = float(np.abs(scores).max()) or 1.0
    small = scores / unit
    mean, deviation = float(small.mean()), float(small.std())
    if deviation < 1e-12:
        deviation = 1.0
    return (small - mean) / deviation, Standardisation(mean * unit, deviation * unit)


def evidence_of(told: Told) -> tuple[Evidence, Standardisation]:
    """Return what trials tell, with scores of mean 0 and variance 1.

    A trial is one row of the pictures that the shortest trial has, too, and one of its others. If
    no trial has all pictures, each is one row with the error that it was told with.

    Args:
        told: one trial at least.
    """
    scores, scale = standardised(told.scores)
    variances = told.variances / max(scale.deviation**2, 1e-300)
    painted = ~np.isnan(told.pictures)
    complete = painted.all(1)
    if not told.pictures.size or not complete.any():
        return Evidence.plain(told.points, scores, variances), scale
    values = (told.pictures - scale.mean) / scale.deviation
    offsets = (values - scores[:, None])[complete].mean(0)
    counts = np.where(painted.any(1), painted.sum(1), painted.shape[1])
    first = painted[counts.argmin()]
    trials, means, errors, shares = [], [], [], []

    def add(trial: int, mean: float, error: float, part: NDArray[np.bool_]) -> None:
        trials.append(trial)
        means.append(mean)
        errors.append(error)
        shares.append(part / part.sum())

    for trial, present in enumerate(painted):
        for part in (present & first, present & ~first):
            if part.any():
                add(trial, float((values[trial] - offsets)[part].mean()), 0.0, part)
        if not present.any():  # a score without pictures counts as one of all
            add(trial, scores[trial], variances[trial], np.ones_like(first))
    more = np.array(shares) - 1 / len(first)
    shared, number = more @ more.T, np.array(trials)
    own = np.where(number[:, None] == number, shared, 0.0)
    rows = Evidence(told.points[number], np.array(means), np.array(errors), shared, own)
    return rows, scale
