"""From scorers' numbers to what is maximised: weighted sums of normalised scores.

Raw scores are stored, and every objective is a pure function of them. Normalisation takes its
statistics from the pictures of the reference: the complete trials before the optimiser's first
one. So they stand still once the optimiser has a say, and are the same after an interruption.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, field, replace
from typing import Any, Literal

from bmerge.evaluate.payloads import Witnesses
from bmerge.records import dataclass
from bmerge.trials.clusters import certainty
from bmerge.trials.constraint import Constraint, exchange_rate
from bmerge.trials.normal import Normal, columns, rank, zscore
from bmerge.trials.picture_record import PictureRecord
from bmerge.trials.tally import Tally, tallied
from bmerge.trials.trial import Trial

__all__ = [
    "NORMALISATIONS",
    "Normalise",
    "Objective",
    "Objectives",
    "Scale",
    "reference",
]

Normalise = Literal["none", "zscore", "rank"]
NORMALISATIONS: tuple[Normalise, ...] = ("none", "zscore", "rank")

_GREATEST = 1e300  # of variances, which are told to others


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
        constraints: what must hold beside.
        tallies: scorer's label → how its scores become one number, where that is not their mean.
        witnesses: how the study's pictures hang together, for who asks how sure scores are.
    """

    sums: tuple[Objective, ...]
    normalise: Normalise = "none"
    constraints: tuple[Constraint, ...] = ()
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    witnesses: Witnesses = field(default_factory=Witnesses, compare=False, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The objectives' names, in order."""
        return tuple(one.name for one in self.sums)

    @property
    def refer(self) -> bool:
        """Whether scores depend on the trials of the reference."""
        return self.normalise != "none" or bool(self.constraints)

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> Objectives:
        """Return those of a stored definition."""
        sums = tuple(Objective(**entry) for entry in definition.get("objectives", ()))
        constraints = tuple(Constraint(**each) for each in definition.get("constraints", ()))
        tallies = definition.get("tallies", {})
        return cls(sums, definition.get("normalise", "none"), constraints, tallies)

    def describe(self) -> dict[str, Any]:
        """Return what :meth:`of` reads."""
        sums = [{"name": one.name, "weights": dict(one.weights)} for one in self.sums]
        constraints = [asdict(constraint) for constraint in self.constraints]
        return {
            "objectives": sums,
            "normalise": self.normalise,
            "constraints": constraints,
            "tallies": dict(self.tallies),
        }

    def scale(self, trials: Mapping[int, Trial]) -> Scale:
        """Return what scores trials, with the statistics of the reference among ``trials``."""
        plain = Scale(self.sums, {}, tallies=self.tallies, witnesses=self.witnesses)
        if self.normalise == "none":
            return self._constrained(plain, trials)
        make = zscore if self.normalise == "zscore" else rank
        judged = columns(reference(trials))
        normal = {label: make(label, some) for label, some in judged.items()}
        return self._constrained(replace(plain, normal=normal), trials)

    def _constrained(self, scale: Scale, trials: Mapping[int, Trial]) -> Scale:
        """Return a scale with what a constraint's lack costs."""
        if not self.constraints:
            return scale
        known = reference(trials)
        plain = lambda trial: scale.scored(trial, trials).score or 0.0  # noqa: E731
        rates = {each: exchange_rate(each, known, plain) for each in self.constraints}
        return replace(scale, rates=rates)

    def scored(self, trials: Mapping[int, Trial]) -> dict[int, Trial]:
        """Return the trials; those with scores have them by the present reference."""
        scale = self.scale(trials)
        return {number: scale.scored(trial, trials) for number, trial in trials.items()}


@dataclass(frozen=True, slots=True)
class Scale:
    """Scores trials and pictures by fixed statistics.

    Args:
        sums: the objectives.
        normal: scorer's label → its normalisation; the scores of others stay raw.
        rates: constraint → score that is taken for each unit that is missing.
        tallies: scorer's label → how its scores become one number, where that is not their mean.
        witnesses: how the study's pictures hang together.
    """

    sums: tuple[Objective, ...]
    normal: Mapping[str, Normal]
    rates: Mapping[Constraint, float] = field(default_factory=dict)
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    witnesses: Witnesses = field(default_factory=Witnesses)

    def scored(self, trial: Trial, trials: Mapping[int, Trial]) -> Trial:
        """Return the trial with its scores, if it is complete or pruned.

        Args:
            trial: to be scored.
            trials: among which are the one that a pruned trial was behind and the models that
                constraints name.
        """
        scored = self._by_means(trial, trials)
        if scored.score is None:
            return scored
        lost = math.fsum(rate * each.lack(scored, trials) for each, rate in self.rates.items())
        if not lost:
            return replace(scored, broken=False)
        scores = tuple(score - lost for score in scored.scores)
        return replace(scored, score=scored.score - lost, scores=scores, broken=True)

    def _by_means(self, trial: Trial, trials: Mapping[int, Trial]) -> Trial:
        """Return the trial with its scores, whatever its constraints are."""
        if trial.state == "pruned" and trial.incumbent is not None:
            incumbent = trials[trial.incumbent]
            lead, variance = self.lead(trial.pictures, incumbent)
            score = self._by_means(replace(incumbent, state="complete"), {}).score or 0.0
            return replace(trial, score=score + lead, variance=variance)
        if trial.state != "complete":
            return trial
        means = {label: self._mean(trial.pictures, label, trial.means) for label in trial.means}
        scores = tuple(_sum(one.weights, means) for one in self.sums)
        return replace(trial, score=math.fsum(scores), scores=scores if len(scores) > 1 else ())

    def lead(self, pictures: Sequence[PictureRecord], incumbent: Trial) -> tuple[float, float]:
        """Estimate by how much a trial's score exceeds that of a complete one.

        Args:
            pictures: of the trial, some or all, one at least.
            incumbent: the complete trial, with the same payloads and all of its pictures.

        Returns:
            The mean difference on the same pictures, and the variance of its error as the
            difference on all: ``s² / n · (1 - n / N)`` for n of N pictures, drawn at random. A
            picture that is there twice is one.
        """
        rival = {picture["id"]: picture for picture in incumbent.pictures}
        own = self.shares(pictures)
        others = self.shares([rival[picture["id"]] for picture in pictures])
        differences = [a - b for a, b in zip(own, others, strict=True)]
        count = len(differences)
        mean = math.fsum(differences) / count
        same = [self.witnesses.picture(p["id"], p["seed"]) for p in pictures]
        errors = [(difference - mean) / count for difference in differences]
        error, _ = certainty(errors, [1.0] * count, same)
        rest = 1 - count / len(incumbent.pictures)
        return mean, min(error * error, _GREATEST) * rest

    def picture(self, picture: PictureRecord) -> float:
        """Return a picture's own value: the sum of all objectives over its scores."""
        normal = {label: self._normal(label, picture) for label in picture["scores"]}
        return math.fsum(_sum(one.weights, normal) for one in self.sums)

    def shares(
        self, pictures: Sequence[PictureRecord], among: Sequence[PictureRecord] = ()
    ) -> list[float]:
        """Return a number for each picture; their mean is the score of a trial of just these.

        Args:
            pictures: of a trial.
            among: pictures of another one, if the mean is to be over pictures like these instead.
        """
        among = among or pictures
        labels = dict.fromkeys(label for picture in pictures for label in picture["scores"])
        totals = {label: _weight(among, label) for label in labels}
        return [
            len(among)
            * math.fsum(
                weight * p["weight"] * self._normal(label, p) / totals[label]
                for one in self.sums
                for label, weight in one.weights.items()
                if weight and label in p["scores"] and totals[label]
            )
            for p in pictures
        ]

    def _mean(
        self, pictures: Sequence[PictureRecord], label: str, means: Mapping[str, float]
    ) -> float:
        tally = self.tallies.get(label, "mean")
        if tally == "mean" and label not in self.normal:
            return means[label]
        judged = [p for p in pictures if label in p["scores"] and p["weight"]]
        scores = [self._normal(label, picture) for picture in judged]
        return tallied(tally, scores, [picture["weight"] for picture in judged])

    def _normal(self, label: str, picture: PictureRecord) -> float:
        score: float = picture["scores"][label]
        return self.normal[label](picture["id"], score) if label in self.normal else score


def reference(trials: Mapping[int, Trial]) -> list[Trial]:
    """Return the complete trials before the optimiser's first one."""
    first = min((t.number for t in trials.values() if t.proposal.asked), default=math.inf)
    return [t for t in trials.values() if t.state == "complete" and t.number < first]


def _sum(weights: Mapping[str, float], values: Mapping[str, float]) -> float:
    return math.fsum(w * values[label] for label, w in weights.items() if w and label in values)


def _weight(pictures: Iterable[PictureRecord], label: str) -> float:
    return math.fsum(p["weight"] for p in pictures if label in p["scores"])
