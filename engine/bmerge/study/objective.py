"""From scorers' numbers to what is maximised: weighted sums of normalised scores.

Raw scores are stored, and every objective is a pure function of them. Normalisation takes its
statistics from the pictures of the reference: the complete trials before the optimiser's first
one. So they stand still once the optimiser has a say, and are the same after an interruption.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bmerge.study.trial import Trial

__all__ = ["NORMALISATIONS", "Normalise", "Objective", "Objectives", "Scale"]

Normalise = Literal["none", "zscore", "rank"]
NORMALISATIONS: tuple[Normalise, ...] = ("none", "zscore", "rank")

Scores = Mapping[str, float]
"""Scorer's label → a picture's score; scorers that do not judge the picture are left out."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A named weighted sum.

    Args:
        name: by which it is shown.
        weights: scorer's label → weight of its mean.
    """

    name: str
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Objectives:
    """What a study maximises.

    Args:
        sums: one objective, or several.
        normalise: how scores are made comparable before they are summed up.
    """

    sums: tuple[Objective, ...]
    normalise: Normalise = "none"

    @property
    def names(self) -> tuple[str, ...]:
        """The objectives' names, in order."""
        return tuple(one.name for one in self.sums)

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> Objectives:
        """Return those of a stored definition."""
        sums = tuple(Objective(**entry) for entry in definition.get("objectives", ()))
        return cls(sums, definition.get("normalise", "none"))

    def describe(self) -> dict[str, Any]:
        """Return what :meth:`of` reads."""
        sums = [{"name": one.name, "weights": dict(one.weights)} for one in self.sums]
        return {"objectives": sums, "normalise": self.normalise}

    def scale(self, trials: Mapping[int, Trial]) -> Scale:
        """Return what scores trials, with the statistics of the reference among ``trials``."""
        if self.normalise == "none":
            return Scale(self.sums, {})
        make = _zscore if self.normalise == "zscore" else _rank
        columns = _columns(reference(trials))
        return Scale(self.sums, {label: make(column) for label, column in columns.items()})

    def scored(self, trials: Mapping[int, Trial]) -> dict[int, Trial]:
        """Return the trials; the complete ones with their scores by the present reference."""
        scale = self.scale(trials)
        return {number: scale.scored(trial) for number, trial in trials.items()}


@dataclass(frozen=True, slots=True)
class Scale:
    """Scores trials and pictures by fixed statistics.

    Args:
        sums: the objectives.
        normal: scorer's label → map from a raw score to a normalised one; others stay raw.
    """

    sums: tuple[Objective, ...]
    normal: Mapping[str, Callable[[float], float]]

    def scored(self, trial: Trial) -> Trial:
        """Return the trial with its scores, if it is complete."""
        if trial.state != "complete":
            return trial
        means = {label: self._mean(trial, label) for label in trial.means}
        scores = tuple(_sum(one.weights, means) for one in self.sums)
        return replace(trial, score=math.fsum(scores), scores=scores if len(scores) > 1 else ())

    def picture(self, scores: Scores) -> float:
        """Return a picture's own value: the sum of all objectives over its scores."""
        normal = {label: self._normal(label, score) for label, score in scores.items()}
        return math.fsum(_sum(one.weights, normal) for one in self.sums)

    def shares(self, trial: Trial) -> list[float]:
        """Return a number for each picture; their mean is the trial's score."""
        pictures = trial.pictures
        totals = {label: _weight(pictures, label) for label in trial.means}
        return [
            len(pictures)
            * math.fsum(
                weight * p["weight"] * self._normal(label, p["scores"][label]) / totals[label]
                for one in self.sums
                for label, weight in one.weights.items()
                if weight and label in p["scores"]
            )
            for p in pictures
        ]

    def _mean(self, trial: Trial, label: str) -> float:
        if label not in self.normal:
            return trial.means[label]
        judged = [p for p in trial.pictures if label in p["scores"]]
        total = math.fsum(p["weight"] * self._normal(label, p["scores"][label]) for p in judged)
        return total / _weight(judged, label)

    def _normal(self, label: str, score: float) -> float:
        return self.normal[label](score) if label in self.normal else score


def reference(trials: Mapping[int, Trial]) -> list[Trial]:
    """Return the complete trials before the optimiser's first one."""
    first = min((t.number for t in trials.values() if t.proposal.asked), default=math.inf)
    return [t for t in trials.values() if t.state == "complete" and t.number < first]


def _columns(trials: Iterable[Trial]) -> dict[str, list[tuple[float, float]]]:
    """Return scorer's label → (score, weight) of every picture that counts."""
    columns: dict[str, list[tuple[float, float]]] = {}
    for trial in trials:
        for picture in trial.pictures:
            if picture["weight"]:
                for label, score in picture["scores"].items():
                    columns.setdefault(label, []).append((score, picture["weight"]))
    return columns


def _zscore(column: Sequence[tuple[float, float]]) -> Callable[[float], float]:
    """Return (x - mean) / standard deviation; the latter counts as 1 where all are equal."""
    total = math.fsum(weight for _, weight in column)
    mean = math.fsum(weight * score for score, weight in column) / total
    variance = math.fsum(weight * (score - mean) ** 2 for score, weight in column) / total
    spread = math.sqrt(variance)
    if spread <= 1e-12 * abs(mean):  # equal but for rounding
        spread = 1.0
    return lambda score: (score - mean) / spread


def _rank(column: Sequence[tuple[float, float]]) -> Callable[[float], float]:
    """Return the share of the column that lies below x; equal ones count half."""
    ordered = sorted(score for score, _ in column)
    return lambda x: (bisect_left(ordered, x) + bisect_right(ordered, x)) / (2 * len(ordered))


def _sum(weights: Mapping[str, float], values: Mapping[str, float]) -> float:
    return math.fsum(w * values[label] for label, w in weights.items() if w and label in values)


def _weight(pictures: Iterable[Mapping[str, Any]], label: str) -> float:
    return math.fsum(p["weight"] for p in pictures if label in p["scores"])
