"""What a point promises: the functions whose maximum is proposed, with their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr  # type: ignore[import-untyped]

from bmerge_plugins.gaussian.kernel import Array
from bmerge_plugins.gaussian.process import Beliefs, Process

__all__ = ["Acquisition", "expected_improvement", "improvement_chance", "upper_bound"]

Acquisition: TypeAlias = Callable[[Array, Array], tuple[Array, Array, Array]]
"""Means and deviations → values, and their slopes by either."""

_SPLIT = -1.0  # improvements of which more deviations are missing are computed otherwise
_ROOT_OF_2_PI = math.sqrt(2 * math.pi)


def upper_bound(kappa: float) -> Acquisition:
    """Return mean + kappa · deviation."""

    def value(mean: Array, deviation: Array) -> tuple[Array, Array, Array]:
        return mean + kappa * deviation, np.ones_like(mean), np.full_like(mean, kappa)

    return value


def expected_improvement(best: float) -> Acquisition:
    """Return the logarithm of the expected improvement over ``best``.

    That is log σ + log h(z), with h(z) = φ(z) + z Φ(z) and z = (mean − best) / σ; far below the
    best, h is computed by the scaled complementary error function (Ament et al. 2023).
    """

    def value(mean: Array, deviation: Array) -> tuple[Array, Array, Array]:
        z = (mean - best) / deviation
        log_h = _log_h(z)
        steep = np.exp(np.clip(log_ndtr(z) - log_h, -50.0, 50.0))  # h' / h
        return np.log(deviation) + log_h, steep / deviation, (1 - z * steep) / deviation

    return value


def improvement_chance(best: float) -> Acquisition:
    """Return the logarithm of the probability of a score above ``best``."""

    def value(mean: Array, deviation: Array) -> tuple[Array, Array, Array]:
        z = (mean - best) / deviation
        log_p = log_ndtr(z)
        steep = np.exp(np.clip(-0.5 * z * z - log_p, -700.0, 50.0)) / _ROOT_OF_2_PI
        return log_p, steep / deviation, -z * steep / deviation

    return value


def values(acquisition: Acquisition, process: Process, points: Array) -> Array:
    """Return what ``points`` promise."""
    return acquisition(*process.expect(points))[0]


def slopes(acquisition: Acquisition, beliefs: Beliefs) -> tuple[Array, Array]:
    """Return what points promise, and the gradients of that."""
    value, by_mean, by_deviation = acquisition(beliefs.mean, beliefs.deviation)
    by_point = by_mean[:, None] * beliefs.mean_slope
    return value, by_point + by_deviation[:, None] * beliefs.deviation_slope


def _log_h(z: Array) -> Array:
    upper = np.maximum(z, _SPLIT)
    log_upper = np.log(np.exp(-0.5 * upper * upper) / _ROOT_OF_2_PI + upper * ndtr(upper))
    lower = np.minimum(z, _SPLIT)
    rest = 1 + lower * math.sqrt(math.pi / 2) * erfcx(-lower / math.sqrt(2))
    rest = np.where(lower < -1e5, 1 / (lower * lower), np.maximum(rest, 1e-300))
    log_lower = -0.5 * lower * lower - math.log(_ROOT_OF_2_PI) + np.log(rest)
    return np.asarray(np.where(z > _SPLIT, log_upper, log_lower))
