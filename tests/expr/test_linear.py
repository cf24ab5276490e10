"""Which bodies weigh their inputs by factors that are the same for all elements."""

from __future__ import annotations

import pytest

from bmerge import ops
from bmerge.expr import is_linear, trace

LINEAR = {
    "input": lambda a, b, *, x: a,
    "sum": lambda a, b, *, x: (1 - x) * a + b * x,
    "difference": lambda a, b, *, x: a + x * (b - a) / 2,
    "negative": lambda a, b, *, x: -(a - b) * ops.sqrt(x),
    "limited factor": lambda a, b, *, x: a + b * ops.clip(x, 0, 1),
    "condition of numbers": lambda a, b, *, x: a * ops.where(x > 0.5, x, 1 - x),
}
OTHER = {
    "constant added": lambda a, b, *, x: a + x,
    "product": lambda a, b, *, x: a * b,
    "divisor": lambda a, b, *, x: x / a,
    "magnitude": lambda a, b, *, x: abs(a) * x,
    "lesser": lambda a, b, *, x: ops.minimum(a, b) * x,
    "choice by element": lambda a, b, *, x: ops.where(a > b, a, b),
    "length": lambda a, b, *, x: a * ops.vector_norm(b),
    "each column": lambda a, b, *, x: a * ops.mean(b, axis=0),
    "rows": lambda a, b, *, x: a * ops.where(ops.row_index(a) < x, 1.0, 0.0),
    "chance": lambda a, b, *, x: a * ops.random_normal(a),
    "number": lambda a, b, *, x: a * 0 + x,
}


@pytest.mark.parametrize("name", [*LINEAR, *OTHER])
def test_sums_of_inputs_with_factors_are_told_from_all_else(name):
    assert is_linear(trace({**LINEAR, **OTHER}[name], 2, ["x"])) == (name in LINEAR)
