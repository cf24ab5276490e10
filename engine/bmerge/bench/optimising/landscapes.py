"""Landscapes: the true quality of a merge for every point of the unit cube.

It is 1 at its best, but for real networks, of which nobody knows the best.

Each is drawn from a seed: where the optimum is and which blocks matter differ from seed to seed, so
that no optimiser is tuned to one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bmerge.bench.optimising.digits import LAYERS, Digits
from bmerge.records import dataclass

__all__ = ["LANDSCAPES", "Landscape", "landscape"]

Array: TypeAlias = NDArray[np.float64]

_BLOCKS = 26  # of SD1 and SDXL as the old tools number them


@dataclass(frozen=True, slots=True)
class Landscape:
    """A quality to be found.

    Args:
        name: of its kind.
        dimensions: how many blocks there are.
        quality: point of the unit cube → what a merge there is worth.
        painter: makes, of a source of random numbers and a number of pictures, what scores a point
            by one of them; None hides the quality as the pictures of real studies do.
    """

    name: str
    dimensions: int
    quality: Callable[[Array], float]
    painter: Callable[[np.random.Generator, int], Callable[[Array, int], float]] | None = None


def landscape(name: str, seed: int) -> Landscape:
    """Return the landscape of a kind that a seed draws.

    Args:
        name: one of :data:`LANDSCAPES`.
        seed: equal seeds draw equal landscapes.
    """
    kind = LANDSCAPES[name]
    rng = np.random.default_rng((seed, [*LANDSCAPES].index(name)))
    drawn = kind.draw(rng, kind.dimensions)
    painter = drawn.painter if isinstance(drawn, Digits) else None
    return Landscape(name, kind.dimensions, drawn, painter)


@dataclass(frozen=True, slots=True)
class _Kind:
    summary: str
    dimensions: int
    draw: Callable[[np.random.Generator, int], Callable[[Array], float]]


def _smooth(rng: np.random.Generator, dimensions: int) -> Callable[[Array], float]:
    important = max(6, dimensions * 8 // 52)
    weights = np.full(dimensions, 0.05)
    optimum = rng.uniform(0.2, 0.8, dimensions)
    chosen = rng.choice(dimensions, important, replace=False)
    weights[chosen] = rng.uniform(0.9, 1.8, important)
    optimum[chosen] = 0.5 + rng.choice([-1, 1], important) * rng.uniform(0.25, 0.4, important)
    return lambda x: float(np.exp(-weights @ (x - optimum) ** 2))


def _basins(rng: np.random.Generator, dimensions: int) -> Callable[[Array], float]:
    chosen = rng.choice(dimensions, 6, replace=False)
    wide_top, narrow_top = np.full(dimensions, 0.5), rng.uniform(0.3, 0.7, dimensions)
    wide_top[chosen] += rng.uniform(-0.1, 0.1, 6)
    narrow_top[chosen] = np.abs(rng.integers(0, 2, 6) - rng.uniform(0.02, 0.12, 6))
    wide, narrow = np.full(dimensions, 0.05), np.full(dimensions, 0.1)
    wide[chosen], narrow[chosen] = 0.8, 3.5

    def quality(x: Array) -> float:
        lower = 0.75 * np.exp(-wide @ (x - wide_top) ** 2)
        return float(max(lower, np.exp(-narrow @ (x - narrow_top) ** 2)))

    return quality


def _ridge(rng: np.random.Generator, dimensions: int) -> Callable[[Array], float]:
    across = rng.standard_normal((5, dimensions))
    across /= np.linalg.norm(across, axis=1)[:, None]
    optimum = 0.5 + rng.choice([-1, 1], dimensions) * rng.uniform(0.1, 0.4, dimensions)

    def quality(x: Array) -> float:
        away = x - optimum
        return float(np.exp(-3.0 * ((across @ away) ** 2).sum() - 0.2 * away @ away))

    return quality


def _corners(rng: np.random.Generator, dimensions: int) -> Callable[[Array], float]:
    corner = rng.integers(0, 2, dimensions)
    weights = rng.uniform(0.4, 1.6, dimensions)
    weights /= weights.sum()
    return lambda x: float(np.exp(-2.0 * weights @ np.abs(x - corner)))


def _digits(rng: np.random.Generator, dimensions: int) -> Callable[[Array], float]:  # noqa: ARG001
    return Digits(rng)


LANDSCAPES: Mapping[str, _Kind] = {
    "smooth": _Kind("smooth, six blocks of 26 matter", _BLOCKS, _smooth),
    "basins": _Kind("two basins, the better one narrow and far from the centre", _BLOCKS, _basins),
    "ridge": _Kind("a ridge across the blocks", _BLOCKS, _ridge),
    "corners": _Kind("each block wholly of one parent, all matter", _BLOCKS, _corners),
    "wide": _Kind("smooth, eight blocks of 52 matter", 2 * _BLOCKS, _smooth),
    "digits": _Kind("two real networks of 26 layers that read digits", LAYERS, _digits),
}
"""Name → kind, in the order in which they are shown."""
