"""How differently each parameter is spread among the best points and among all: PED-ANOVA.

Watanabe, Bansal and Hutter, 2023, https://arxiv.org/abs/2304.10255: the Pearson divergence between
two densities, each a sum of kernels on a grid. In proportion to what optuna's evaluator says, which
takes 20 times as long and imports scikit-learn; here scores are shuffled many times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Divergence"]

_STEPS = 50
"""Points of the grid that a range becomes."""
_NARROWEST = 0.5 / 1.64
"""Least width of a kernel, in steps: nine tenths of it lie within its own step."""


class Divergence:
    """Compares points that score best with all of them.

    Args:
        values: shape (points, parameters), each within 0 … 1 of its range.
        best: part of the points that count as the best; ties with the last of them count too.
    """

    def __init__(self, values: NDArray[np.float64], best: float) -> None:
        import numpy as np

        self._best = best
        places = np.ceil(values / (1 / (_STEPS - 1)) - 0.5)  # a tie goes to the lower step
        self._places = places.astype(int).clip(0, _STEPS - 1)
        self._all = self._densities(np.ones(len(values), bool))

    def of(self, scores: Sequence[float]) -> NDArray[np.float64]:
        """Return the divergence of each parameter, 0 or more.

        Args:
            scores: of the points; more is better.
        """
        import numpy as np

        losses = -np.asarray(scores)
        last = math.ceil(self._best * losses.size) - 1
        top = self._densities(losses <= np.partition(losses, last)[last])
        found: NDArray[np.float64] = (self._all * (top / self._all - 1) ** 2).sum(axis=1)
        return found

    def _densities(self, chosen: NDArray[Any]) -> NDArray[np.float64]:
        """Return the density of each parameter's values on the grid."""
        import numpy as np

        counts = [np.bincount(column, minlength=_STEPS) for column in self._places[chosen].T]
        return np.stack([_density(own) for own in counts]) + 1e-12


def _density(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Return the density of values on a grid: a kernel for each, and a wide one in the middle."""
    import numpy as np

    places = np.flatnonzero(counts)
    weights = counts[places]
    middles = np.append(places, (_STEPS - 1) / 2)
    widths = np.append(np.full(len(places), _width(places, weights)), float(_STEPS))
    kernels = _kernels(middles, widths)
    shares: NDArray[np.float64] = np.append(weights, 1.0) / (weights.sum() + 1)
    return shares @ kernels


def _width(places: NDArray[Any], weights: NDArray[Any]) -> float:
    """Return the width of kernels by Scott's rule, in steps of the grid."""
    import numpy as np

    upto = np.cumsum(weights)
    total = int(upto[-1])
    mean = places @ weights / total
    deviation = math.sqrt((places - mean) ** 2 @ weights / max(1, total - 1))
    first = int(np.searchsorted(upto, total // 4, side="left"))
    third = int(np.searchsorted(upto, total * 3 // 4, side="right"))
    between = int(places[min(len(places) - 1, third)]) - int(places[first])
    return max(1.059 * min(between / 1.34, deviation) * math.pow(total, -0.2), _NARROWEST)


def _kernels(middles: NDArray[Any], widths: NDArray[Any]) -> NDArray[np.float64]:
    """Return normal distributions, one a row, of the steps of the grid, which is all there is."""
    import numpy as np
    from scipy.special import ndtr  # type: ignore[import-untyped]

    edges = np.arange(_STEPS + 1) - 0.5
    below = ndtr((edges - middles[:, None]) / widths[:, None])
    kernels: NDArray[np.float64] = np.diff(below) / (below[:, -1:] - below[:, :1])
    return kernels
