"""A landscape that a study has found: a smooth surface through the scores of its trials.

So optimisers can be compared on a user's own models without painting anything. The surface is the
mean of a Gaussian process (Matérn 5/2, one length scale); how smooth it is and how much of the
scores is noise is what makes them likeliest. Where no trial was near, it goes back to their mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bmerge.bench.optimising.landscapes import Array, Landscape
from bmerge.bench.optimising.painting import BETWEEN
from bmerge.errors import StudyError
from bmerge.findings.importance import FEWEST, points_of
from bmerge.storage.stored import StoredStudy, read_study
from bmerge.trials.trial import Trial

__all__ = ["replay"]

_LENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the root of the number of dimensions
_NOISES = (1e-4, 1e-3, 1e-2, 0.1, 0.5)  # variances, of scores with variance 1


def replay(folder: Path) -> Landscape:
    """Return the landscape of a study.

    Its quality is in such units that pictures of one merge differ as those of the other landscapes
    do; the best trial has 1, by the surface.

    Args:
        folder: of the study.

    Raises:
        StudyError: if there is none, or it has too few trials with a score.
    """
    study = read_study(folder)
    bounds = study.definition.space.numbers
    trials = points_of(study.trials.values(), bounds)
    if len(trials) < FEWEST or not bounds:
        message = f"the study in {folder} has too few trials for a landscape"
        raise StudyError(message, hint=f"it takes {FEWEST} within its space, with a score")
    low, high = np.array([*bounds.values()]).T
    values = np.array([[trial.proposal.values[name] for name in bounds] for trial in trials])
    points = (values - low) / np.where(high > low, high - low, 1.0)
    surface = _Surface(points, trials)
    scale = BETWEEN / _between(study)
    best = max(map(surface, points))
    return Landscape(study.name, len(bounds), lambda x: 1 + scale * (surface(x) - best))


def _between(study: StoredStudy) -> float:
    """Return the standard deviation between pictures of one trial."""
    scale = study.objectives.scale(study.trials)
    shares = [scale.shares(t.pictures) for t in study.trials.values() if t.state == "complete"]
    spreads = [float(np.std(some, ddof=1)) for some in shares if len(some) > 1]
    if not spreads or not (spread := float(np.median(spreads))):
        raise StudyError(f"the study in {study.folder} has no pictures that differ")
    return spread


class _Surface:
    """The mean of a Gaussian process through scored points of the unit cube."""

    def __init__(self, points: Array, trials: Sequence[Trial]) -> None:
        scores = np.array([trial.score or 0.0 for trial in trials])
        variances = np.array([trial.variance for trial in trials])
        self._mean, spread = float(scores.mean()), float(scores.std()) or 1.0
        self._points, self._root = points, np.sqrt(points.shape[1])
        standard, known = (scores - self._mean) / spread, variances / spread**2
        fits = [
            self._fit(length, noise, standard, known)
            for length, noise in itertools.product(_LENGTHS, _NOISES)
        ]
        _, self._length, weights = max(fits, key=lambda fit: fit[0])
        self._weights = spread * weights

    def __call__(self, point: Array) -> float:
        """Return the score at a point."""
        return self._mean + float(self._correlations(point[None], self._length)[0] @ self._weights)

    def _fit(
        self, length: float, noise: float, scores: Array, known: Array
    ) -> tuple[float, float, Array]:
        """Return how likely the scores are, the length scale, and what each point weighs."""
        covariance = self._correlations(self._points, length) + np.diag(known + noise)
        weights = np.linalg.solve(covariance, scores)
        likelihood = -0.5 * float(scores @ weights + np.linalg.slogdet(covariance)[1])
        return likelihood, length, np.asarray(weights, dtype=np.float64)

    def _correlations(self, points: Array, length: float) -> Array:
        away = points[:, None] - self._points
        scaled = np.sqrt(5 * (away * away).sum(-1)) / (length * self._root)
        return np.asarray((1 + scaled + scaled * scaled / 3) * np.exp(-scaled))
