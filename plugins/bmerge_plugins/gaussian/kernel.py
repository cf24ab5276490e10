"""The covariance of scores: Matérn 5/2, with a length scale for each dimension or one for all."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "matern", "squared_distances"]

Array = NDArray[np.float64]

_ROOT = math.sqrt(5.0)


def squared_distances(a: Array, b: Array) -> Array:
    """Return the squared distances between the rows of ``a`` and those of ``b``."""
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return np.asarray(np.maximum(squares, 0.0))


def matern(squares: Array) -> tuple[Array, Array]:
    """Return the correlations at squared distances r², and their slopes.

    The correlation is (1 + √5 r + 5/3 r²) exp(−√5 r), the slope −2 dk/d(r²), which is finite at 0.
    """
    scaled = _ROOT * np.sqrt(squares)
    fade = np.exp(-scaled)
    return (1 + scaled + scaled * scaled / 3) * fade, 5 / 3 * (1 + scaled) * fade
