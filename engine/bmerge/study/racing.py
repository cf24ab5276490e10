"""Which trials race against the best one, and whether racing pays (:mod:`bmerge.trials.race`).

It pays where a merge takes no longer than about 15 pictures; ``auto`` measures both.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from bmerge.errors import StudyError
from bmerge.evaluate.protocols import TrialScorer
from bmerge.evaluate.scoring import WeightedScorer
from bmerge.storage.store import Store
from bmerge.study.events import Event, RacingChosen
from bmerge.study.study import PreparedStudy
from bmerge.trials.objective import Objectives
from bmerge.trials.race import FEWEST, Race
from bmerge.trials.trial import Trial, best_of

__all__ = ["Races", "check_racing", "cost_of_a_merge"]

_WORTH = 15.0  # pictures that a merge may last
_DECIDED = "racing"  # attribute of the study


class Races:
    """Decides which trials race, and against whom.

    Args:
        study: whose trials.
        store: of the study; whether they race is stored there once it has been measured.
        on_event: told of that.
    """

    def __init__(
        self, study: PreparedStudy, store: Store, on_event: Callable[[Event], None]
    ) -> None:
        self._study, self._store, self._on_event = study, store, on_event

    def race(self, trial: Trial) -> Race | None:
        """Return a trial's race; None for one that gets all of its pictures in any case.

        Those are baselines and what a person wants to have tried, and the first of all.

        Args:
            trial: that is going to be evaluated.
        """
        incumbent = best_of(self._store.trials)
        if incumbent is None or trial.proposal.phase in ("baseline", "try") or not self._is_on():
            return None
        scale = self._study.objectives.scale(self._store.trials)
        return Race(incumbent, scale, self._study.seed)

    def _is_on(self) -> bool:
        study = self._study
        if len(study.evaluator.payloads) <= FEWEST:
            return False
        if study.racing != "auto" or _obstacle(study.evaluator.scorers, study.objectives):
            return study.racing == "on"
        known: bool | None = self._store.attributes.get(_DECIDED)
        if known is None and (cost := cost_of_a_merge(self._store.trials)) is not None:
            known = cost <= _WORTH
            self._store.describe({_DECIDED: known})
            self._on_event(RacingChosen(known, cost))
        return bool(known)


def check_racing(scorers: Sequence[WeightedScorer], objectives: Objectives) -> None:
    """Complain if the trials of a study cannot race.

    Raises:
        StudyError: if they cannot be compared picture by picture.
    """
    if obstacle := _obstacle(scorers, objectives):
        raise StudyError(f"trials cannot race: {obstacle}", hint="set racing to off or auto")


def _obstacle(scorers: Sequence[WeightedScorer], objectives: Objectives) -> str | None:
    for entry in scorers:
        if isinstance(entry.scorer, TrialScorer):
            return f"the scorer {entry.label!r} judges all pictures of a trial together"
    if len(objectives.sums) > 1:
        return "there are several objectives"
    tallies = objectives.tallies.items()
    return next((f"{label} counts by its {tally}, not its mean" for label, tally in tallies), None)


def cost_of_a_merge(trials: Mapping[int, Trial]) -> float | None:
    """Return how many pictures could be made and scored in the time that a merge takes.

    Args:
        trials: of a study, of which the complete merges have been measured.

    Returns:
        The median; None as long as there is none.
    """
    costs = [
        _until_painting(seconds) * len(trial.pictures) / spent
        for trial in trials.values()
        if trial.state == "complete" and trial.proposal.model is None
        for seconds in (trial.seconds,)
        if (spent := seconds.get("generate", 0.0) + _waited(seconds)) > 0
    ]
    return statistics.median(costs) if costs else None


def _waited(seconds: Mapping[str, float]) -> float:
    """Return how long a generator waited for scores; earlier releases did nothing meanwhile."""
    return seconds.get("wait", seconds.get("score", 0.0))


def _until_painting(seconds: Mapping[str, float]) -> float:
    return sum(seconds.get(key, 0.0) for key in ("merge", "hand_over", "load"))
