"""What the operations mean for plain Python numbers (float64) and booleans.

Used to work out hyperparameter arithmetic before a merge, and by :mod:`bmerge.ops` for numbers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

__all__ = ["SCALARS"]


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0))


def _minimum(x: float, y: float) -> float:
    return math.nan if math.isnan(x) or math.isnan(y) else min(y, x)


def _maximum(x: float, y: float) -> float:
    return math.nan if math.isnan(x) or math.isnan(y) else max(y, x)


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda x: float(function(x))


SCALARS: dict[str, Callable[..., Any]] = {
    "neg": operator.neg, "abs": abs, "sign": _sign, "sqrt": math.sqrt,
    "square": lambda x: x * x, "exp": math.exp, "log": math.log, "sin": math.sin,
    "cos": math.cos, "acos": math.acos, "tanh": math.tanh,
    "floor": _whole(math.floor), "ceil": _whole(math.ceil), "trunc": _whole(math.trunc),
    "round": _whole(round), "isnan": math.isnan, "isfinite": math.isfinite,
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul,
    "divide": operator.truediv, "pow": math.pow, "minimum": _minimum, "maximum": _maximum,
    "copysign": math.copysign, "less": operator.lt, "less_equal": operator.le,
    "greater": operator.gt, "greater_equal": operator.ge, "equal": operator.eq,
    "not_equal": operator.ne, "logical_not": operator.not_,
    "logical_and": lambda x, y: x and y, "logical_or": lambda x, y: x or y,
    "where": lambda condition, x, y: x if condition else y,
}  # fmt: skip
"""Operation → function. As in Python's ``math``, what has no value raises an ArithmeticError or
a ValueError."""
