"""Fitting a process: the shape under which the scores are likeliest, given what is usual.

What is usual is a length scale of half the typical distance between points, within a factor of
about three, a variance of the scores' own size, and little noise beside the one that is told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize  # type: ignore[import-untyped]

from bmerge_plugins.gaussian.kernel import Array, matern, squared_distances
from bmerge_plugins.gaussian.process import MEAN_VARIANCE, Process, Shape, inverse

__all__ = ["Standardisation", "fit", "standardised"]

_USUAL_LENGTH = 0.5  # times the root of the number of dimensions
_USUAL_NOISE = 1e-3
_SPREAD_OF_LENGTHS, _SPREAD_OF_VARIANCE, _SPREAD_OF_NOISE = 1.0, 1.0, 1.5  # of logarithms
_BOUNDS_OF_LENGTHS, _BOUNDS_OF_VARIANCE = (0.05, 100.0), (0.01, 30.0)
_BOUNDS_OF_NOISE = (1e-6, 1.0)
_ITERATIONS = 25
_IMPOSSIBLE = 1e10  # loss of a shape whose covariance is none


@dataclass(frozen=True, slots=True)
class Standardisation:
    """How scores are standardised: (score − mean) / deviation."""

    mean: float
    deviation: float


def standardised(scores: Array) -> tuple[Array, Standardisation]:
    """Return scores of mean 0 and variance 1, as far as they differ, and how they became that.

    They may be of any finite size: the greatest is brought to 1 first, so that no sum overflows.
    """
    unit = float(np.abs(scores).max()) or 1.0
    small = scores / unit
    mean, deviation = float(small.mean()), float(small.std())
    if deviation < 1e-12:
        deviation = 1.0
    return (small - mean) / deviation, Standardisation(mean * unit, deviation * unit)


def fit(
    points: Array,
    scores: Array,
    variances: Array,
    *,
    alike: bool = False,
    noise: float | None = None,
) -> Process:
    """Return the process that fits best.

    Args:
        points: rows of the unit cube.
        scores: of the points, standardised.
        variances: of the scores' errors, on the same scale.
        alike: whether all dimensions have the same length scale.
        noise: variance beside ``variances``; None finds it out.
    """
    likelihood = _Likelihood(points, scores, variances, alike=alike)
    found = minimize(
        likelihood.loss,
        likelihood.begin(noise),
        jac=True,
        method="L-BFGS-B",
        bounds=likelihood.bounds(noise),
        options={"maxiter": _ITERATIONS},
    )
    return Process(points, scores, variances, likelihood.shape(found.x))


def _log(value: float) -> float:
    return math.log(max(value, 1e-12))


class _Likelihood:
    """The loss of a shape, by the logarithms of what it is made of: lengths, variance, noise."""

    def __init__(self, points: Array, scores: Array, variances: Array, *, alike: bool) -> None:
        self._points, self._scores, self._variances = points, scores, variances
        self._alike = alike
        dimensions = points.shape[1]
        lengths = 1 if alike else dimensions
        length = math.log(_USUAL_LENGTH * math.sqrt(dimensions))
        self.usual = np.array([*[length] * lengths, 0.0, math.log(_USUAL_NOISE)])
        self._spread = np.array(
            [*[_SPREAD_OF_LENGTHS] * lengths, _SPREAD_OF_VARIANCE, _SPREAD_OF_NOISE]
        )

    def begin(self, noise: float | None) -> Array:
        """Return what is usual, with a given noise."""
        return np.array([*self.usual[:-1], self.usual[-1] if noise is None else _log(noise)])

    def bounds(self, noise: float | None) -> list[tuple[float, float]]:
        """Return the bounds of the logarithms; those of a given noise are alike."""
        free = _BOUNDS_OF_NOISE if noise is None else (noise, noise)
        lengths = [_BOUNDS_OF_LENGTHS] * (len(self.usual) - 2)
        return [(_log(low), _log(high)) for low, high in (*lengths, _BOUNDS_OF_VARIANCE, free)]

    def shape(self, logarithms: Array) -> Shape:
        """Return the shape that the logarithms mean."""
        *lengths, variance, noise = np.exp(logarithms)
        dimensions = self._points.shape[1]
        return Shape(np.resize(lengths, dimensions), float(variance), float(noise))

    def loss(self, logarithms: Array) -> tuple[float, Array]:
        """Return minus the logarithm of the posterior density, and its gradient."""
        shape = self.shape(logarithms)
        scaled = self._points / shape.lengths
        correlation, slope = matern(squared_distances(scaled, scaled))
        covariance = shape.variance * correlation + MEAN_VARIANCE
        covariance[np.diag_indices(len(covariance))] += self._variances + shape.noise
        try:
            solved, half_determinant = inverse(covariance)
        except np.linalg.LinAlgError:
            return _IMPOSSIBLE, np.zeros_like(logarithms)
        weights = solved @ self._scores
        outer = np.outer(weights, weights) - solved  # −2 times the loss by the covariance
        pull = outer * slope * shape.variance
        lengths = (scaled * (pull @ scaled)).sum(0) - (scaled * scaled * pull.sum(1)[:, None]).sum(
            0
        )
        gradient = np.array(
            [
                *([lengths.sum()] if self._alike else lengths),
                -0.5 * (outer * correlation).sum() * shape.variance,
                -0.5 * np.trace(outer) * shape.noise,
            ]
        )
        unusual = (logarithms - self.usual) / self._spread
        loss = 0.5 * self._scores @ weights + half_determinant + 0.5 * unusual @ unusual
        return float(loss), gradient + unusual / self._spread
