"""From answers to scores that can be compared across trials.

Scores of earlier trials move a little whenever later answers tell more of them.
"""

from __future__ import annotations

import statistics

from bmerge.rating.pairs import linked
from bmerge.rating.ratings import Offer, Ratings
from bmerge.rating.strengths import fit_strengths
from bmerge.records import dataclass

__all__ = ["Standing", "standings"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a person's answers say of one trial.

    Args:
        score: the strength, or the mean on the scale of 0 to 10.
        error: its standard error; None if it cannot be told.
        answers: that it rests on; 0 for a trial that was not shown, whose score is the worst of
            those that were.
    """

    score: float
    error: float | None
    answers: int


def standings(ratings: Ratings) -> dict[int, Standing]:
    """Return trial → what is known of it now.

    Trials whose answers tell nothing, as all were skipped, are left out; likewise those that
    were not shown, as long as there is no other.
    """
    offers = ratings.offers()
    shown = [offer for offer in offers if offer.shown]
    if not shown:
        return {}
    found = _strengths(ratings, shown) if shown[0].mode == "pairwise" else _means(ratings, shown)
    if found:
        least = min(standing.score for standing in found.values())
        found |= {offer.trial: Standing(least, None, 0) for offer in offers if not offer.shown}
    return dict(sorted(found.items()))


def _strengths(ratings: Ratings, shown: list[Offer]) -> dict[int, Standing]:
    comparisons = ratings.comparisons()
    trials = linked(shown[0].trial, comparisons)
    fit = fit_strengths([c for c in comparisons if c.first in trials], trials)
    count = {t: sum(t in (c.first, c.second) for c in comparisons) for t in trials}
    return {t: Standing(fit.of(t), fit.error(t), count[t]) for t in trials}


def _means(ratings: Ratings, shown: list[Offer]) -> dict[int, Standing]:
    found: dict[int, Standing] = {}
    for offer in shown:
        known = [(r.weight, r.value) for r in ratings.ratings(offer.trial) if r.value is not None]
        if known:
            total = sum(weight for weight, _ in known)
            mean = sum(weight * value for weight, value in known) / total
            values = [value for _, value in known]
            error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
            found[offer.trial] = Standing(mean, error, len(values))
    return found
