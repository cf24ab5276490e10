"""Which parameters matter: PED-ANOVA of a study's points, and what chance alone would say.

PED-ANOVA (Watanabe, Bansal and Hutter, 2023) asks of each parameter how differently its values are
spread among the best fifth of the points and among all. With few points in many dimensions some
parameter always looks important; so the same is done with the scores shuffled, many times.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping

from bmerge.findings.divergence import Divergence
from bmerge.records import dataclass
from bmerge.trials.trial import Trial

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
    import numpy as np

    ranges = {name: bounds[name] for name in names}
    lows, highs = np.array(list(ranges.values()), dtype=np.float64).T
    values = np.array([[t.proposal.values[name] for name in names] for t in points])
    divergence = Divergence(((values - lows) / (highs - lows)).clip(0, 1), _BEST)
    scores = [t.score or 0.0 for t in points]
    raw = divergence.of(scores)
    total = float(raw.sum())
    if not total:
        return ()
    dice = random.Random(len(points))  # noqa: S311  the same report from the same study
    chance = max(
        float(divergence.of(dice.sample(scores, len(scores))).max()) for _ in range(_SHUFFLES)
    )
    found = [
        Importance(name, own / total, chance / total, value, _bound(value, *ranges[name]))
        for name, own in zip(names, map(float, raw), strict=True)
        for value in (best.proposal.values[name],)
    ]
    return tuple(sorted(found, key=lambda one: (-one.share, one.name)))


def points_of(trials: Iterable[Trial], names: Collection[str]) -> list[Trial]:
    """Return the trials with a score that have a value of each parameter, the latest."""
    wanted = set(names)
    points = [t for t in trials if t.score is not None and wanted <= set(t.proposal.values)]
    return points[-_MOST:]


def _bound(value: float, low: float, high: float) -> float | None:
    edge = _EDGE * (high - low)
    if value <= low + edge:
        return low
    return high if value >= high - edge else None
