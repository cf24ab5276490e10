"""A trial: one proposed merge and what came of it, as it is stored and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal

from bmerge.recipe.schema import BlockWeights, Recipe
from bmerge.records import dataclass
from bmerge.trials.picture_record import PictureRecord

__all__ = [
    "Phase",
    "Proposal",
    "Trial",
    "TrialState",
    "best_of",
    "dominates",
    "front_of",
]

Phase = Literal["baseline", "try", "init", "iters"]
TrialState = Literal["running", "complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A merge that is to be tried.

    Args:
        phase: of the study.
        source: who proposed it: ``model a``, ``centre``, ``sobol``, the optimiser's name.
        values: parameter → value; empty if the merge lies outside the search space, as a model
            as it is does where blocks are frozen.
        weights: hyperparameter → value per block; for a model as it is, those that mean the same,
            if there are any.
        asked: whether the optimiser proposed it.
        model: index of the input that is tried as it is; None for a merge.
        recipe: of a merge that is none of the study's: of other models, by another method, or of
            steps; None for one of its own.
    """

    phase: Phase
    source: str
    values: Mapping[str, float]
    weights: Mapping[str, BlockWeights]
    asked: bool = False
    model: int | None = None
    recipe: Recipe | None = None

    @property
    def merge(self) -> Mapping[str, BlockWeights] | int | Recipe:
        """What a merger makes it of: hyperparameters, the index of a model as it is, a recipe."""
        if self.recipe is not None:
            return self.recipe
        return self.weights if self.model is None else self.model


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a study.

    Args:
        number: from 0, in the order of starting.
        state: running, complete, failed or pruned: stopped early, because it was behind.
        proposal: what is tried.
        score: the objective, or the sum of several; greater is better; estimated for a pruned
            trial, None for a running and a failed one.
        means: scorer's label → weighted mean over the pictures that it judges; estimated for a
            pruned trial.
        pictures: one record for each picture.
        seconds: what the time was spent on: ``merge``, ``hand_over``, ``load``, ``generate``,
            ``wait`` for scores, ``total``; and ``score``, much of it at the same time.
        reason: why it failed.
        sequence: position among the finished trials, from 0.
        asks_before: asks of the optimiser before this trial was finished.
        scores: each objective's value where there are several, else empty.
        variance: of the error of an estimated score; 0 for a complete trial.
        incumbent: number of the complete trial that a pruned one was behind.
        broken: whether a constraint does not hold; the score is lowered then.
        token: of the present attempt, and in its own pictures, no others.
    """

    number: int
    state: TrialState
    proposal: Proposal
    score: float | None = None
    means: Mapping[str, float] = field(default_factory=dict)
    pictures: tuple[PictureRecord, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None
    sequence: int | None = None
    asks_before: int = 0
    scores: tuple[float, ...] = ()
    variance: float = 0.0
    incumbent: int | None = None
    broken: bool = False
    token: str = ""


def best_of(trials: Mapping[int, Trial]) -> Trial | None:
    """Return the complete trial with the greatest score, the first of equals, or None.

    One that breaks a constraint is returned only where all do.
    """
    complete = [trial for trial in trials.values() if trial.state == "complete"]
    return max(complete, key=lambda t: (not t.broken, t.score or 0.0, -t.number), default=None)


def front_of(trials: Mapping[int, Trial]) -> list[Trial]:
    """Return the Pareto front: trials that none other excels in one objective and equals in all.

    Empty where there is one objective. The trial of :func:`best_of`, with the greatest sum, is
    on it. Trials that break a constraint are not, unless all do.
    """
    all_scored = [trial for trial in trials.values() if trial.scores]
    scored = [trial for trial in all_scored if not trial.broken] or all_scored
    return [t for t in scored if not any(dominates(o.scores, t.scores) for o in scored)]


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Tell whether scores excel others in one objective and equal them in all, at least."""
    pairs = list(zip(one, other, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)
