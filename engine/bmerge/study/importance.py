"""Which parameters matter: PED-ANOVA of a study's points, and what chance alone would say.

PED-ANOVA (Watanabe, Bansal and Hutter, 2023) asks of each parameter how differently its values are
spread among the best fifth of the points and among all. With few points in many dimensions some
parameter always looks important; so the same is done with the scores shuffled, many times.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bmerge.study.trial import Trial

if TYPE_CHECKING:
    from optuna import Study

__all__ = ["FEWEST", "Importance", "importances", "points_of"]

FEWEST = 20  # points, for their best fifth to say something
_BEST = 0.2  # part of the points that count as the best
_MOST = 400  # points that are looked at, the latest
_SHUFFLES = 19  # so that one in twenty is above all of them by chance
_EDGE = 0.01  # of a range, within which a value is at its bound


@dataclass(frozen=True, slots=True)
class Importance:
    """How much a parameter matters.

    Args:
        name: of the parameter.
        share: of all importance, 0 … 1.
        chance: the most that any parameter got in shuffles of the scores, in the same unit.
        value: that the best merge has.
        bound: the end of the range that the value lies at, if it does: the range may be too small.
    """

    name: str
    share: float
    chance: float
    value: float
    bound: float | None = None

    @property
    def is_real(self) -> bool:
        """Whether it is more than chance gives in one study of twenty."""
        return self.share > self.chance


def importances(
    trials: Iterable[Trial], best: Trial, bounds: Mapping[str, tuple[float, float]]
) -> tuple[Importance, ...]:
    """Return the parameters by their importance, the greatest first.

    There are none of too few points, and none where the best points are all there are: that is so
    where all scores are equal.

    Args:
        trials: of the study; estimates of pruned ones count as scores.
        best: the winner.
        bounds: parameter → least and greatest value, of those that are numbers.
    """
    names = [name for name, (low, high) in bounds.items() if high > low]
    points = points_of(trials, names)
    if len(points) < FEWEST or not names or not set(names) <= set(best.proposal.values):
        return ()
    rows = [{name: t.proposal.values[name] for name in names} for t in points]
    scores = [t.score or 0.0 for t in points]
    ranges = {name: bounds[name] for name in names}
    study = _study(rows, scores, ranges)
    raw = _raw(study, ranges)
    total = sum(raw.values())
    if not total:
        return ()
    dice = random.Random(len(points))  # noqa: S311  the same report from the same study
    chance = 0.0
    for _ in range(_SHUFFLES):
        # Optuna's own objects: making a study for each shuffle takes a hundred times as long
        stored = study.get_trials(deepcopy=False)
        for trial, score in zip(stored, dice.sample(scores, len(scores)), strict=True):
            trial.value = score
        chance = max(chance, *_raw(study, ranges).values())
    found = [
        Importance(name, own / total, chance / total, value, _bound(value, *ranges[name]))
        for name, own in raw.items()
        for value in (best.proposal.values[name],)
    ]
    return tuple(sorted(found, key=lambda one: (-one.share, one.name)))


def points_of(trials: Iterable[Trial], names: Collection[str]) -> list[Trial]:
    """Return the trials with a score that have a value of each parameter, the latest."""
    wanted = set(names)
    points = [t for t in trials if t.score is not None and wanted <= set(t.proposal.values)]
    return points[-_MOST:]


def _raw(study: Study, ranges: Iterable[str]) -> dict[str, float]:
    """Return parameter → its importance, in no unit."""
    import warnings

    from optuna.importance import PedAnovaImportanceEvaluator

    evaluator = PedAnovaImportanceEvaluator(target_quantile=_BEST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the best points are all there are
        found = evaluator.evaluate(study)
    return {name: float(found.get(name, 0.0)) for name in ranges}


def _study(
    rows: Sequence[Mapping[str, float]],
    scores: Sequence[float],
    ranges: Mapping[str, tuple[float, float]],
) -> Study:
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it has a handler of its own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of features that may still change
        study = optuna.create_study(direction="maximize")
        spaces = {n: optuna.distributions.FloatDistribution(*pair) for n, pair in ranges.items()}
        for row, score in zip(rows, scores, strict=True):
            inside = {n: min(max(value, ranges[n][0]), ranges[n][1]) for n, value in row.items()}
            study.add_trial(
                optuna.trial.create_trial(
                    params=dict(inside), distributions=dict(spaces), value=score
                )
            )
    return study


def _bound(value: float, low: float, high: float) -> float | None:
    edge = _EDGE * (high - low)
    if value <= low + edge:
        return low
    return high if value >= high - edge else None
