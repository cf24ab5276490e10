"""A matrix as a product of two thin ones: the best of a rank, or the thinnest of an energy.

Energy is the sum of the squares of all elements, which is that of the squared singular values; a
product that keeps 0.99 of it leaves a tenth of the matrix's norm. The randomised way (Halko et
al., 2011, arXiv:0909.4061) multiplies the matrix with a few random vectors more than there are
ranks. Where that is not much less than all, the exact way is taken: the eigenvectors of its
smaller Gram matrix, in float64. In both the product is the matrix projected on a few orthonormal
vectors, so what it keeps is known without computing it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bmerge.lora.arrays import Array
from bmerge.records import dataclass

__all__ = ["Factors", "Wanted", "factorise", "refactorise"]

_OVERSAMPLING = 10
_ITERATIONS = 2
_SMALL = 128
"""Columns up to which the exact way costs nothing."""
_BLOCK, _COLUMNS = 1 << 15, 1 << 10
"""Elements, and columns, that fit the caches in float64."""
_FIRST = 32
"""Ranks that are tried first where only an energy is asked for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much of a matrix a product is to keep.

    Args:
        rank: the most that it may have, or None.
        energy: the share to keep, 0 to 1, as far as ``rank`` allows; None takes the whole rank.
    """

    rank: int | None = None
    energy: float | None = None


@dataclass(frozen=True, slots=True)
class Factors:
    """A product ``up @ down``.

    Args:
        up: rows x rank.
        down: rank x columns.
        total: energy of the matrix.
        kept: energy of the product.
    """

    up: Array
    down: Array
    total: float
    kept: float

    @property
    def rank(self) -> int:
        """Columns of ``up``."""
        return int(self.up.shape[1])


def factorise(matrix: Array, wanted: Wanted, *, seed: int = 0) -> Factors:
    """Return the product that is nearest to a matrix.

    Args:
        matrix: rows x columns, finite.
        wanted: its rank or energy.
        seed: of the random vectors.
    """
    total = _energy(matrix)
    if matrix.shape[0] > matrix.shape[1]:
        turned = _factorised(matrix.T, total, wanted, seed)
        return replace(turned, up=turned.down.T, down=turned.up.T)
    return _factorised(matrix, total, wanted, seed)


def _factorised(matrix: Array, total: float, wanted: Wanted, seed: int) -> Factors:
    """Return the factors of a matrix with no more rows than columns."""
    least = len(matrix)
    most = least if wanted.rank is None else min(wanted.rank, least)
    count = _FIRST if wanted.rank is None else wanted.rank
    while least > _SMALL and 3 * (count + _OVERSAMPLING) < least:
        basis, down, energies = _sketch(matrix, count + _OVERSAMPLING, seed)
        rank = _rank(energies, total, wanted)
        if rank is not None and rank <= count:
            return _shared(basis[:, :rank], down[:rank], total)
        if wanted.rank is not None:
            return _shared(basis[:, :most], down[:most], total)
        count *= 2
    wide = matrix.astype("f8")
    energies, basis = _strongest(wide @ wide.T)
    rank = _rank(energies, total, wanted)
    basis = basis[:, : most if rank is None else rank]
    return _shared(basis, basis.T @ wide, total)


def refactorise(up: Array, down: Array, wanted: Wanted) -> Factors:
    """Return the product that is nearest to another product, without computing that one.

    Raises:
        OverflowError: if that one is beyond float32.
    """
    (q, r), (p, s) = np.linalg.qr(up.astype("f8")), np.linalg.qr(down.T.astype("f8"))
    with np.errstate(over="ignore"):
        core = (r @ s.T).astype("f4")
    if not np.isfinite(core).all():
        raise OverflowError("a product of factors is beyond float32")
    inner = factorise(core, wanted)
    return Factors(
        (q @ inner.up).astype("f4"), (inner.down @ p.T).astype("f4"), inner.total, inner.kept
    )


def _rank(energies: NDArray[Any], total: float, wanted: Wanted) -> int | None:
    """Return how many of the vectors are needed; None if all of them are too few."""
    most = min(len(energies), wanted.rank or len(energies))
    if wanted.energy is None:
        return most if wanted.rank is not None else None
    sums = np.cumsum(energies[:most])
    # What rounding of the sum itself takes away is not a reason for one rank more.
    enough = np.flatnonzero(sums >= wanted.energy * total * (1 - 1e-9))
    return int(enough[0]) + 1 if len(enough) else None


def _sketch(
    matrix: Array, count: int, seed: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return orthonormal vectors that nearly span the strongest columns.

    Returns:
        the vectors as columns, the matrix projected on them, and the energies of that.
    """
    random = np.random.default_rng(seed)
    basis = matrix @ random.standard_normal((matrix.shape[1], count), dtype=np.float32)
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(matrix.T @ np.linalg.qr(basis)[0])[0]
        basis = matrix @ basis
    basis = np.linalg.qr(basis)[0]
    inner = basis.T @ matrix
    energies, vectors = _strongest(_gram(inner))
    turn = vectors.astype("f4")
    return basis @ turn, turn.T @ inner, energies


def _gram(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the products of all pairs of rows, summed in float64 some columns at a time."""
    gram = np.zeros((len(rows), len(rows)))
    for begin in range(0, rows.shape[1], _COLUMNS):
        part = rows[:, begin : begin + _COLUMNS].astype("f8")
        gram += part @ part.T
    return gram


def _strongest(gram: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return eigenvalues and eigenvectors, the greatest first."""
    values, vectors = np.linalg.eigh(gram)
    return np.maximum(values[::-1], 0), vectors[:, ::-1]


def _shared(basis: NDArray[Any], down: NDArray[Any], total: float) -> Factors:
    """Return a product with its strength shared by both factors."""
    energies = np.sum(np.square(down, dtype="f8"), axis=1)
    root = np.where(energies > 0, energies, 1.0) ** 0.25
    up, down = basis * root, down / root[:, None]
    return Factors(up.astype("f4"), down.astype("f4"), total, min(total, float(np.sum(energies))))


def _energy(matrix: Array) -> float:
    flat, total = matrix.reshape(-1), 0.0
    for begin in range(0, flat.size, _BLOCK):
        part = flat[begin : begin + _BLOCK].astype("f8")
        total += float(part @ part)
    return total
