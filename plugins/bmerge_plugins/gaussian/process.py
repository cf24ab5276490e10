"""A fitted process: what it expects at a point, how sure it is, and the slopes of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular  # type: ignore[import-untyped]

from bmerge_plugins.gaussian.evidence import Evidence
from bmerge_plugins.gaussian.kernel import Array, matern, squared_distances

__all__ = ["MEAN_VARIANCE", "Beliefs", "Process", "Shape", "covariance", "inverse"]

MEAN_VARIANCE = 4.0  # of the unknown mean of scores, in those of the standardised scores
_OFFSET_VARIANCE = 4.0  # of the unknown mean of a picture
_JITTER = 1e-8
_LEAST = 1e-10  # of a variance


@dataclass(frozen=True, slots=True)
class Shape:
    """What a fit decides, for scores of mean 0 and variance 1.

    Args:
        lengths: length scale of each dimension.
        variance: of the scores over the space.
        taste: variance of what one picture likes over the space, as a part of ``variance``.
        error: variance of the error of a picture that no other trial's has.
        noise: variance that scores have beside the one that was told.
    """

    lengths: Array
    variance: float
    taste: float
    error: float
    noise: float


@dataclass(frozen=True, slots=True)
class Beliefs:
    """What a process expects at some points: all of it one row for each.

    Args:
        mean: expected scores.
        deviation: their standard deviations.
        mean_slope: gradients of ``mean``.
        deviation_slope: gradients of ``deviation``.
    """

    mean: Array
    deviation: Array
    mean_slope: Array
    deviation_slope: Array


class Process:
    """A Gaussian process given some scores: what it expects are scores by all pictures.

    Args:
        evidence: what is known.
        shape: of the process.
    """

    def __init__(self, evidence: Evidence, shape: Shape) -> None:
        self.evidence, self.shape = evidence, shape
        self.points = np.unique(evidence.points, axis=0)
        """The points of which something is known, each once."""
        self._scaled = evidence.points / shape.lengths
        correlation, _ = matern(squared_distances(self._scaled, self._scaled))
        self._inverse, _ = inverse(covariance(evidence, shape, correlation))
        self._weights = self._inverse @ evidence.scores

    def joined(self, points: Array) -> Process:
        """Return the same given more points, as if each had the score that is expected there."""
        return Process(self.evidence.joined(points, self.expect(points)[0]), self.shape)

    def expect(self, points: Array) -> tuple[Array, Array]:
        """Return the means and standard deviations of the scores at ``points``."""
        covariance = self._covariance(points / self.shape.lengths)
        return covariance @ self._weights, self._deviation(covariance, covariance @ self._inverse)

    def believe(self, points: Array) -> Beliefs:
        """Return the same with their gradients."""
        scaled = points / self.shape.lengths
        correlation, slope = matern(squared_distances(scaled, self._scaled))
        covariance = self.shape.variance * correlation + MEAN_VARIANCE
        solved = covariance @ self._inverse
        deviation = self._deviation(covariance, solved)

        def gradient(weights: Array) -> Array:
            """Return the gradients of the covariances' sums with ``weights``."""
            pull = self.shape.variance * slope * weights
            towards = pull @ self._scaled - pull.sum(1)[:, None] * scaled
            return np.asarray(towards / self.shape.lengths)

        variance_slope = -2 * gradient(solved)
        return Beliefs(
            covariance @ self._weights,
            deviation,
            gradient(np.broadcast_to(self._weights, covariance.shape)),
            variance_slope / (2 * deviation[:, None]),
        )

    def _covariance(self, scaled: Array) -> Array:
        correlation, _ = matern(squared_distances(scaled, self._scaled))
        return np.asarray(self.shape.variance * correlation + MEAN_VARIANCE)

    def _deviation(self, covariance: Array, solved: Array) -> Array:
        known = (covariance * solved).sum(1)
        variance = self.shape.variance + MEAN_VARIANCE - known
        return np.asarray(np.sqrt(np.maximum(variance, _LEAST)))


def covariance(evidence: Evidence, shape: Shape, correlation: Array) -> Array:
    """Return the covariance of what is known.

    Args:
        evidence: the rows.
        shape: of the process.
        correlation: of the rows' points.
    """
    shared = evidence.shared
    found = shape.variance * correlation * (1 + shape.taste * shared) + MEAN_VARIANCE
    found += _OFFSET_VARIANCE * shared + shape.error * evidence.own
    found[np.diag_indices(len(found))] += evidence.variances + shape.noise
    return np.asarray(found)


def inverse(covariance: Array) -> tuple[Array, float]:
    """Return the inverse of a covariance and half the logarithm of its determinant.

    Raises:
        LinAlgError: if it is not positive definite.
    """
    covariance[np.diag_indices(len(covariance))] += _JITTER
    root = np.linalg.cholesky(covariance)
    across = solve_triangular(root, np.eye(len(root)), lower=True, check_finite=False)
    return across.T @ across, float(np.log(np.diag(root)).sum())
