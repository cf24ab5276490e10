"""Scrambled Sobol points: those of :class:`scipy.stats.qmc.Sobol`, to the bit.

Importing scipy's statistics takes longer than all else before a study's first trials together, and
nothing but these points needs them there. The construction is Sobol's with the direction numbers
of Joe and Kuo (2008), which scipy brings as a file; scrambled by a random lower triangular matrix
of bits for each dimension and a digital shift (Matoušek 1998).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["sobol_points"]

_BITS = 30
_NUMBERS = Path("stats", "_sobol_direction_numbers.npz")


def sobol_points(dimensions: int, count: int, seed: int) -> NDArray[np.float64]:
    """Return the first points of a scrambled sequence, a row for each, in the unit cube.

    Args:
        dimensions: of the cube.
        count: of points; they are balanced at powers of two.
        seed: scrambles them.
    """
    import numpy as np

    file = _file()
    if file is None:  # another scipy
        from scipy.stats import qmc  # type: ignore[import-untyped]

        points = qmc.Sobol(dimensions, rng=np.random.default_rng(seed))
        return np.asarray(points.random_base2((count - 1).bit_length()))[:count]
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])  # as scipy's own
    shift = rng.integers(0, 2, (dimensions, _BITS), np.uint32) @ _powers()
    directions = _scrambled(_directions(file, dimensions), rng)
    steps = [(~index & index + 1).bit_length() - 1 for index in range(count - 1)]
    walk = np.vstack([shift[None, :], directions[:, steps].T])
    return np.bitwise_xor.accumulate(walk) * 2.0**-_BITS


def _file() -> Path | None:
    """Return scipy's file of direction numbers, if it is where it has always been."""
    spec = importlib.util.find_spec("scipy")
    folders = (spec and spec.submodule_search_locations) or ()
    return next((file for folder in folders if (file := Path(folder, _NUMBERS)).is_file()), None)


def _powers() -> NDArray[np.uint32]:
    import numpy as np

    return np.asarray(1 << np.arange(_BITS, dtype=np.uint32), np.uint32)


def _directions(file: Path, dimensions: int) -> NDArray[np.uint32]:
    """Return a row of direction numbers for each dimension."""
    import numpy as np

    with np.load(file) as known:
        polynomials, beginnings = known["poly"][:dimensions], known["vinit"][:dimensions]
    rows = [[1] * _BITS]
    for polynomial, beginning in zip(
        polynomials[1:].tolist(), beginnings[1:].tolist(), strict=True
    ):
        degree = polynomial.bit_length() - 1
        row = beginning[:degree]
        taps = [k + 1 for k in range(degree) if polynomial >> (degree - 1 - k) & 1]
        for place in range(degree, _BITS):
            new = row[place - degree]
            for tap in taps:
                new ^= row[place - tap] << tap
            row.append(new)
        rows.append(row)
    return np.array(rows, np.uint32) * _powers()[::-1]


def _scrambled(directions: NDArray[np.uint32], rng: np.random.Generator) -> NDArray[np.uint32]:
    """Return direction numbers times a random matrix of bits for each dimension."""
    import numpy as np

    size = (len(directions), _BITS, _BITS)
    lower = np.tril(rng.integers(0, 2, size, np.uint32), -1) | np.eye(_BITS, dtype=np.uint32)
    bits = directions[:, None, :] >> np.arange(_BITS, dtype=np.uint32)[::-1, None] & 1
    return np.asarray(np.einsum("dpb,p->db", lower @ bits & 1, _powers()[::-1]), np.uint32)
