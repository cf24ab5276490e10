"""Initial designs: the points that a study tries before its optimiser has a say.

The study makes them itself, from the seed and their number alone, so that every optimiser
starts from the same points and a resumed study continues with the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmerge.space.cube import Cube
from bmerge.space.protocols import Space
from bmerge.study_file.config import InitialDesign

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["initial_points"]


def initial_points(
    design: InitialDesign, space: Space, count: int, seed: int
) -> list[dict[str, float]]:
    """Return ``count`` points of ``space``.

    Args:
        design: ``random``; ``lhs``, one point in each of ``count`` slices of every dimension;
            ``sobol``, a scrambled low-discrepancy sequence.
        space: the dimensions.
        count: how many points.
        seed: equal seeds give equal points.
    """
    if count == 0:
        return []
    cube = Cube(space)
    return [cube.values(row) for row in _unit_points(design, cube.width, count, seed)]


def _unit_points(
    design: InitialDesign, dimensions: int, count: int, seed: int
) -> NDArray[np.float64]:
    """Return ``count`` rows in the unit cube."""
    import numpy as np

    rng = np.random.default_rng(seed)
    if design == "random":
        return rng.random((count, dimensions))
    from scipy.stats import qmc  # type: ignore[import-untyped]

    if design == "lhs":
        return np.asarray(qmc.LatinHypercube(dimensions, rng=rng).random(count))
    # a Sobol sequence is balanced at powers of two only; its beginning is the best one can have
    exponent = (count - 1).bit_length()
    return np.asarray(qmc.Sobol(dimensions, rng=rng).random_base2(exponent))[:count]
