"""What several methods share: small arithmetic that is safe where a formula is not defined."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Iterable, Sequence
from typing import Annotated, TypeAlias

from bmerge import Range, ops

__all__ = ["Share", "cosine", "lerp", "quotient", "stock_share", "total"]

Share: TypeAlias = Annotated[float, Range(0, 1, minimum=0, maximum=1)]
"""A hyperparameter from 0 to 1 that has no meaning beyond."""


def total(values: Iterable[ops.Tensor]) -> ops.Tensor:
    """Return the sum of one or more values."""
    return functools.reduce(operator.add, values)


def lerp(x: ops.Tensor, y: ops.Tensor, t: ops.Tensor) -> ops.Tensor:
    """Return (1 - t) * x + t * y."""
    return (1 - t) * x + t * y


def quotient(x: ops.Tensor, y: ops.Tensor, otherwise: ops.Tensor = 0.0) -> ops.Tensor:
    """Return x / y, and ``otherwise`` where y is 0."""
    return ops.where(y == 0, otherwise, x / ops.where(y == 0, 1.0, y))


def cosine(x: ops.Tensor, y: ops.Tensor, axis: ops.Axis = None) -> ops.Tensor:
    """Return the cosine of the angle between x and y, in [-1, 1]; 0 if either is all zeros."""
    lengths = ops.vector_norm(x, axis=axis) * ops.vector_norm(y, axis=axis)
    return ops.clip(quotient(ops.vecdot(x, y, axis=axis), lengths), -1.0, 1.0)


def stock_share(deltas: Sequence[ops.Tensor], axis: ops.Axis = None) -> ops.Tensor:
    """Return model stock's part of the mean of two or more task vectors: the more alike, the more.

    Args:
        deltas: the task vectors.
        axis: an angle for each vector of this axis, or None: for the whole tensor.
    """
    n = len(deltas)
    pairs = list(itertools.combinations(deltas, 2))
    c = total(cosine(x, y, axis) for x, y in pairs) / len(pairs)
    return quotient(n * c, 1 + (n - 1) * c)
