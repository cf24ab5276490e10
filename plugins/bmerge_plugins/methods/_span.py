"""Arithmetic among linear combinations of the models, on their coefficients alone.

Iterative means stay in the span of the models, so that they need one pass over the data, for
all scalar products, and then numbers only, however large the tensors are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from bmerge import ops
from bmerge_plugins.methods._common import total

__all__ = ["Coefficients", "Matrix", "combine", "dots", "length"]

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
