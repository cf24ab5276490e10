"""The statistics of the proof: bootstrap intervals and a paired permutation test.

A pair is one prompt with one seed, painted by two candidates. All candidates paint the same
pairs, so differences are taken pair by pair, which leaves out how hard a prompt is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Comparison", "Interval", "compare", "mean_interval"]

RESAMPLES = 10_000
PERMUTATIONS = 100_000
_CHUNK = 2_000

Scores = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One candidate's lead over another.

    Args:
        difference: mean of the paired differences.
        p: two-sided, of the paired permutation test; never below 1 / (permutations + 1).
    """

    difference: Interval
    p: float


def mean_interval(scores: Scores, seed: int = 0) -> Interval:
    """Return the mean and its percentile bootstrap interval.

    Args:
        scores: one for each pair.
        seed: of the resampling; equal seeds resample the same pairs for all candidates.
    """
    values = np.asarray(scores, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = [
        values[rng.integers(0, len(values), (_CHUNK, len(values)))].mean(axis=1)
        for _ in range(RESAMPLES // _CHUNK)
    ]
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high))


def compare(candidate: Scores, rival: Scores, seed: int = 0) -> Comparison:
    """Return how far ``candidate`` leads, pair by pair.

    The test flips the signs of the differences at random: where neither is better, each sign
    was as likely as the other.

    Args:
        candidate: its scores.
        rival: scores of the same pairs in the same order.
        seed: of resampling and permutations.
    """
    differences = np.asarray(candidate, dtype=np.float64) - np.asarray(rival, dtype=np.float64)
    rng = np.random.default_rng(seed)
    observed = abs(differences.sum()) * (1 - 1e-12)
    as_extreme = 0
    for _ in range(PERMUTATIONS // _CHUNK):
        signs = rng.integers(0, 2, (_CHUNK, len(differences)), dtype=np.int8) * 2 - 1
        as_extreme += int((abs(signs @ differences) >= observed).sum())
    p = (as_extreme + 1) / (PERMUTATIONS + 1)
    return Comparison(mean_interval(differences, seed), p)
