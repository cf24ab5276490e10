"""Fitting a process: the shape under which the scores are likeliest, given what is usual.

What is usual is a length scale of half the typical distance between points, within a factor of
about three, from which those of single dimensions differ by a factor of about two; a variance of
the scores' own size, pictures that like one merge better than another by about a third of what the
scores differ by, and little noise beside the one that is told.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import OptimizeResult, minimize  # type: ignore[import-untyped]

from bmerge_plugins.gaussian.evidence import Evidence
from bmerge_plugins.gaussian.kernel import Array, matern, squared_distances
from bmerge_plugins.gaussian.process import Process, Shape, covariance, inverse

__all__ = ["Fitted", "fit"]

_USUAL_LENGTH = 0.5  # times the root of the number of dimensions
_USUAL_TASTE, _USUAL_ERROR, _USUAL_NOISE = 0.1, 0.02, 1e-3
_SPREAD_OF_LENGTHS, _SPREAD_OF_LENGTH = 0.7, 1.0  # of logarithms, as those below
_SPREAD_OF_VARIANCE, _SPREAD_OF_TASTE, _SPREAD_OF_ERROR, _SPREAD_OF_NOISE = 1.0, 1.5, 1.0, 1.5
_BOUNDS_OF_LENGTHS, _BOUNDS_OF_LENGTH = (0.05, 20.0), (0.05, 100.0)
_BOUNDS_OF_VARIANCE, _BOUNDS_OF_TASTE, _BOUNDS_OF_ERROR = (0.01, 30.0), (1e-4, 3.0), (1e-5, 1.0)
_BOUNDS_OF_NOISE = (1e-6, 1.0)
_ITERATIONS = 25
_IMPOSSIBLE = 1e10  # loss of a shape whose covariance is none


class Fitted(NamedTuple):
    """What fits best.

    Args:
        process: that one.
        loss: minus the logarithm of how likely its shape is by the scores, given what is usual.
    """

    process: Process
    loss: float


def fit(evidence: Evidence, *, alike: bool = False, noise: float | None = None) -> Fitted:
    """Return the process that fits best.

    Args:
        evidence: what is known.
        alike: whether all dimensions have the same length scale.
        noise: variance of the scores' errors beside the one that is given; None finds it out.
    """
    likelihood = _Likelihood(evidence, alike=alike)
    found = likelihood.least(noise)
    return Fitted(Process(evidence, likelihood.shape(found.x)), float(found.fun))


def _log(value: float) -> float:
    return math.log(max(value, 1e-12))


class _Likelihood:
    """The loss of a shape, by the logarithms of what it is made of.

    These are, unless they are alike, what each length is times the common one; the common length,
    variance, taste, error and noise.
    """

    def __init__(self, evidence: Evidence, *, alike: bool) -> None:
        self._evidence = evidence
        dimensions = evidence.points.shape[1]
        self._own = 0 if alike else dimensions
        length = _USUAL_LENGTH * math.sqrt(dimensions)
        usual = [length, 1.0, _USUAL_TASTE, _USUAL_ERROR, _USUAL_NOISE]
        self.usual = np.array([*[0.0] * self._own, *map(math.log, usual)])
        self._spread = np.array(
            [
                *[_SPREAD_OF_LENGTHS] * self._own,
                _SPREAD_OF_LENGTH,
                _SPREAD_OF_VARIANCE,
                _SPREAD_OF_TASTE,
                _SPREAD_OF_ERROR,
                _SPREAD_OF_NOISE,
            ]
        )

    def begin(self, noise: float | None) -> Array:
        """Return what is usual, with a given noise."""
        return np.array([*self.usual[:-1], self.usual[-1] if noise is None else _log(noise)])

    def bounds(self, noise: float | None) -> list[tuple[float, float]]:
        """Return the bounds of the logarithms; those of a given noise are alike."""
        bounds = [
            *[_BOUNDS_OF_LENGTHS] * self._own,
            _BOUNDS_OF_LENGTH,
            _BOUNDS_OF_VARIANCE,
            _BOUNDS_OF_TASTE,
            _BOUNDS_OF_ERROR,
            _BOUNDS_OF_NOISE if noise is None else (noise, noise),
        ]
        return [(_log(low), _log(high)) for low, high in bounds]

    def least(self, noise: float | None) -> OptimizeResult:
        """Return the least loss, and the logarithms that have it."""
        return minimize(
            self.loss,
            self.begin(noise),
            jac=True,
            method="L-BFGS-B",
            bounds=self.bounds(noise),
            options={"maxiter": _ITERATIONS},
        )

    def shape(self, logarithms: Array) -> Shape:
        """Return the shape that the logarithms mean."""
        own, (length, *others) = np.split(np.exp(logarithms), [self._own])
        lengths = length * (own if self._own else np.ones(self._evidence.points.shape[1]))
        return Shape(lengths, *map(float, others))

    def loss(self, logarithms: Array) -> tuple[float, Array]:
        """Return minus the logarithm of the posterior density, and its gradient."""
        shape, known = self.shape(logarithms), self._evidence
        scaled = known.points / shape.lengths
        correlation, slope = matern(squared_distances(scaled, scaled))
        try:
            solved, half_determinant = inverse(covariance(known, shape, correlation))
        except np.linalg.LinAlgError:
            return _IMPOSSIBLE, np.zeros_like(logarithms)
        weights = solved @ known.scores
        outer = np.outer(weights, weights) - solved  # −2 times the loss by the covariance
        liked = outer * shape.variance * (1 + shape.taste * known.shared)
        pull = liked * slope
        lengths = (scaled * (pull @ scaled)).sum(0)
        lengths -= (scaled * scaled * pull.sum(1)[:, None]).sum(0)
        taste = (outer * correlation * known.shared).sum() * shape.variance * shape.taste
        gradient = np.array(
            [
                *lengths[: self._own],
                lengths.sum(),
                -0.5 * (liked * correlation).sum(),
                -0.5 * taste,
                -0.5 * (outer * known.own).sum() * shape.error,
                -0.5 * np.trace(outer) * shape.noise,
            ]
        )
        unusual = (logarithms - self.usual) / self._spread
        loss = 0.5 * known.scores @ weights + half_determinant + 0.5 * unusual @ unusual
        return float(loss), gradient + unusual / self._spread
