"""Tallies: how a scorer's numbers for the pictures of a trial become one.

A mean forgives a bad picture among many good ones; the others forgive less, or nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

__all__ = ["TALLIES", "Tally", "tallied"]

Tally = Literal["mean", "median", "geometric", "harmonic", "min", "max"]
TALLIES: tuple[Tally, ...] = get_args(Tally)


def tallied(tally: Tally, scores: Sequence[float], weights: Sequence[float]) -> float:
    """Return the tally of some scores.

    Args:
        tally: which. Of scores of which one is 0 or below, ``geometric`` and ``harmonic`` are the
            lowest one: where that reaches 0, so do they.
        scores: one or more.
        weights: of each, above 0; ``median``, ``min`` and ``max`` do not depend on them.
    """
    return _FUNCTIONS[tally](scores, weights)


def _mean(scores: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(w * s for s, w in zip(scores, weights, strict=True)) / math.fsum(weights)


def _geometric(scores: Sequence[float], weights: Sequence[float]) -> float:
    if min(scores) <= 0:
        return min(scores)
    return math.exp(_mean([math.log(score) for score in scores], weights))


def _harmonic(scores: Sequence[float], weights: Sequence[float]) -> float:
    if min(scores) <= 0:
        return min(scores)
    return 1 / _mean([1 / score for score in scores], weights)


_FUNCTIONS: Mapping[Tally, Callable[[Sequence[float], Sequence[float]], float]] = {
    "mean": _mean,
    "median": lambda scores, _: statistics.median(scores),
    "geometric": _geometric,
    "harmonic": _harmonic,
    "min": lambda scores, _: min(scores),
    "max": lambda scores, _: max(scores),
}
