"""Where an acquisition is greatest: many candidates, the best of which climb.

Candidates are points anywhere, corners of the cube, and the best known points with a few
coordinates changed: a little, or all the way to 0 or 1, as blocks that are taken from one model
are. Where many points stand for one, because there are whole numbers or choices, what counts is
what that one promises (Garrido-Merchán and Hernández-Lobato 2020); one that is not known yet is
proposed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize  # type: ignore[import-untyped]

from bmerge_plugins.gaussian.acquisition import Acquisition, slopes, values
from bmerge_plugins.gaussian.bounds import Box
from bmerge_plugins.gaussian.kernel import Array
from bmerge_plugins.gaussian.process import Process

__all__ = ["argmax"]

_ANYWHERE, _CORNERS, _CHANGED = 600, 100, 80  # candidates
_KNOWN, _CLIMBERS = 3, 6
_STEPS, _POLISH = 40, 15
_STRIDE, _LEAST_STRIDE, _INERTIA = 0.25, 0.01, 0.8
_SAME = 1e-9  # difference of coordinates up to which two points are one


def argmax(
    process: Process,
    acquisition: Acquisition,
    rng: np.random.Generator,
    box: Box | None = None,
    snap: Callable[[Array], Array] | None = None,
) -> Array:
    """Return the point of the unit cube that promises most.

    Args:
        process: what is expected.
        acquisition: what is promised.
        rng: draws the candidates.
        box: bounds of the point; None is the whole cube.
        snap: rows of the cube → the rows that stand for the same; None where each is its own.
    """
    dimensions = process.points.shape[1]
    box = box or Box(np.zeros(dimensions), np.ones(dimensions))
    order = np.argsort(-process.expect(process.points)[0], kind="stable")
    known = np.clip(process.points[order[:_KNOWN]], box.low, box.high)
    candidates = box.point(_candidates(box.unit(known), rng))
    promise = values(acquisition, process, candidates)
    best = np.argsort(-promise, kind="stable")[:_CLIMBERS]
    point = _climb(process, acquisition, np.concatenate([candidates[best], known[:2]]), box)
    point = _polish(process, acquisition, point, box)
    if snap is None:
        return point
    return _unknown(process, acquisition, snap(np.concatenate([point[None], candidates])))


def _unknown(process: Process, acquisition: Acquisition, points: Array) -> Array:
    """Return the best of the points that the process does not know; of all, if it knows them."""
    near = np.abs(points[:, None] - process.points).max(2) < _SAME
    fresh = points[~near.any(1)]
    points = fresh if len(fresh) else points
    return np.asarray(points[values(acquisition, process, points).argmax()])


def _candidates(known: Array, rng: np.random.Generator) -> Array:
    dimensions = known.shape[1]
    found = [
        rng.random((_ANYWHERE, dimensions)),
        (rng.random((_CORNERS, dimensions)) < 0.5).astype(np.float64),
    ]
    for point in known:
        some = rng.random((_CHANGED, dimensions)) < min(1.0, 5 / dimensions)
        near = np.clip(point + rng.normal(0, 0.2, (_CHANGED, dimensions)), 0, 1)
        found.append(np.where(some, near, point))
        some = rng.random((_CHANGED, dimensions)) < min(1.0, 4 / dimensions)
        found.append(np.where(some, rng.integers(0, 2, (_CHANGED, dimensions)), point))
    return np.concatenate(found)


def _climb(process: Process, acquisition: Acquisition, points: Array, box: Box) -> Array:
    """Let all points climb at once, in ever shorter strides; return the best that one found."""
    best, best_value = points[0], -np.inf
    direction = np.zeros_like(points)
    for step in range(1, _STEPS + 1):
        value, slope = slopes(acquisition, process.believe(points))
        if value.max() > best_value:
            best, best_value = points[value.argmax()], value.max()
        slope = slope * box.width
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)
        direction = _INERTIA * direction + (1 - _INERTIA) * slope
        longest = np.maximum(np.abs(direction).max(1, keepdims=True), 1e-12)
        stride = _STRIDE * (1 - step / (_STEPS + 1)) + _LEAST_STRIDE
        points = points + stride * direction / longest * box.width
        points = np.clip(points, box.low, box.high)
    return np.asarray(best)


def _polish(process: Process, acquisition: Acquisition, point: Array, box: Box) -> Array:
    """Return the maximum near ``point``."""

    def loss(at: Array) -> tuple[float, Array]:
        value, slope = slopes(acquisition, process.believe(at[None]))
        return -float(value[0]), -slope[0]

    bounds = list(zip(box.low, box.high, strict=True))
    options = {"maxiter": _POLISH}
    found = minimize(loss, point, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    better = found.fun <= loss(point)[0]
    return np.clip(found.x if better else point, box.low, box.high)
