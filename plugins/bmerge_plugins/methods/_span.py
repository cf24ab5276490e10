"""Arithmetic among linear combinations of the models, on their coefficients alone.

Iterative means stay in the span of the models, so that they need one pass over the data, for
all scalar products, and then numbers only, however large the tensors are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from bmerge import ops
from bmerge_plugins.methods._common import quotient, total

__all__ = ["Coefficients", "Matrix", "combine", "dots", "length", "median"]

ITERATIONS = 40
LEAST_DISTANCE = 1e-6

Coefficients: TypeAlias = Sequence[ops.Tensor]
Matrix: TypeAlias = Sequence[Sequence[ops.Tensor]]


def combine(coefficients: Coefficients, models: Sequence[ops.Tensor]) -> ops.Tensor:
    """Return the linear combination itself."""
    return total(c * model for c, model in zip(coefficients, models, strict=True))


def dots(matrix: Matrix, coefficients: Coefficients) -> list[ops.Tensor]:
    """Return the matrix times the coefficients: the scalar products with each model."""
    return [total(g * c for g, c in zip(row, coefficients, strict=True)) for row in matrix]


def length(matrix: Matrix, coefficients: Coefficients) -> ops.Tensor:
    """Return the Euclidean norm of the linear combination, given all scalar products."""
    products = dots(matrix, coefficients)
    squared = total(c * d for c, d in zip(coefficients, products, strict=True))
    return ops.sqrt(ops.maximum(squared, 0.0))


def median(models: Sequence[ops.Tensor], weight: Coefficients) -> ops.Tensor:
    """Return the point with the least weighted sum of distances, by Weiszfeld's algorithm."""
    squared = [[ops.vecdot(x - y, x - y) for y in models] for x in models]
    point = _shares(weight)
    for _ in range(ITERATIONS):
        distances = _distances(squared, point)
        point = _shares([w / d for w, d in zip(weight, distances, strict=True)])
    return combine(point, models)


def _shares(weight: Coefficients) -> list[ops.Tensor]:
    whole = total(weight)
    return [quotient(w, whole, 1 / len(weight)) for w in weight]


def _distances(squared: Matrix, point: Coefficients) -> list[ops.Tensor]:
    """Return the distance to each model of the point with these coefficients, whose sum is 1."""
    products = dots(squared, point)
    spread = total(p * d for p, d in zip(point, products, strict=True)) / 2
    least = LEAST_DISTANCE**2
    return [ops.sqrt(ops.maximum(product - spread, least)) for product in products]
