"""Bounds that follow the best point: a box that breathes, and sequential domain reduction.

The reduction is after Stander and Craig, "On the robustness of a simple domain reduction scheme for
simulation-based optimization" (2002). A dimension's bounds contract the less, the more steadily
the best point moves on in it, and the more, the more it swings to and fro.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bmerge_plugins.gaussian.kernel import Array

__all__ = ["Box", "around_best", "reduced"]

_HALF, _LEAST_HALF, _GREATEST_HALF = 0.4, 0.1, 0.8
_FAILURES, _SUCCESSES = 8, 2


@dataclass(frozen=True, slots=True)
class Box:
    """Bounds within the unit cube, one number for each dimension."""

    low: Array
    high: Array

    @property
    def width(self) -> Array:
        """How far the bounds are from each other."""
        return self.high - self.low

    def point(self, units: Array) -> Array:
        """Return rows of the unit cube as points between the bounds."""
        return np.clip(self.low + units * self.width, self.low, self.high)

    def unit(self, points: Array) -> Array:
        """Return points between the bounds as rows of the unit cube."""
        return np.clip((points - self.low) / self.width, 0.0, 1.0)


def around_best(points: Array, scores: Array, sure: Array, asked: Array) -> Box:
    """Return a box around the best point, halved while it yields nothing and doubled while it does.

    It is 0.8 wide at first, halved after 8 points in turn without a better one, to 0.2 at least,
    and doubled after 2 in turn that were better. The rule is that of trust regions in TuRBO
    (Eriksson et al. 2019), but the box moves on instead of beginning anew.

    Args:
        points: in the order in which they were told.
        scores: of the points.
        sure: whether a score is of all pictures: only such are the best.
        asked: whether a point was proposed: only such tell of the box.
    """
    half, failures, successes = _HALF, 0, 0
    best = -1
    for place, score in enumerate(scores):
        better = bool(sure[place]) and (best < 0 or score > scores[best])
        best = place if better else best
        if not asked[place]:
            continue
        failures, successes = (0, successes + 1) if better else (failures + 1, 0)
        if successes == _SUCCESSES:
            half, successes = min(_GREATEST_HALF, 2 * half), 0
        if failures == _FAILURES:
            half, failures = max(_LEAST_HALF, half / 2), 0
    centre = points[best] if best >= 0 else np.full(points.shape[1], 0.5)
    return Box(np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0))


def reduced(
    points: Array,
    scores: Array,
    gamma_osc: float,
    gamma_pan: float,
    eta: float,
    minimum_window: float,
) -> Box:
    """Return the bounds after all scores.

    With d = 2 (x − x') / r, how far the best point has moved in parts of the range r, and
    c = √|d d'| with the sign of d d': r becomes r (η + |d| (γ − η)), with
    γ = (γ_pan (1 + c) + γ_osc (1 − c)) / 2, around the best point; it begins at η.

    Args:
        points: in the order in which they were told.
        scores: of the points.
        gamma_osc: contraction where the best point swings.
        gamma_pan: contraction where it moves on.
        eta: contraction where it stays.
        minimum_window: least width.
    """
    width = np.full(points.shape[1], eta)
    centre, before = np.full_like(width, 0.5), np.zeros_like(width)
    best = -np.inf
    for point, score in zip(points, scores, strict=True):
        there = point if score > best else centre
        best = max(best, float(score))
        moved = np.clip(2 * (there - centre) / width, -1.0, 1.0)  # what was given may be outside
        both = moved * before
        steadiness = np.sqrt(np.abs(both)) * np.sign(both)
        gamma = 0.5 * (gamma_pan * (1 + steadiness) + gamma_osc * (1 - steadiness))
        width = np.clip(width * (eta + np.abs(moved) * (gamma - eta)), 1e-6, 1.0)
        centre, before = there, moved
    low, high = np.clip(centre - width / 2, 0.0, 1.0), np.clip(centre + width / 2, 0.0, 1.0)
    lacking = np.maximum(min(minimum_window, 1.0) - (high - low), 0.0)
    low = np.clip(low - lacking / 2, 0.0, None)
    high = np.clip(high, low + min(minimum_window, 1.0), 1.0)
    return Box(np.minimum(low, high - min(minimum_window, 1.0)), high)
