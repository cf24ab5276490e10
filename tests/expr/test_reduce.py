"""Partial evaluation: which merges are copies, and which only look like it."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmerge import ops
from bmerge.expr import reduces_to_input, trace
from running import run_native

CASES = {
    "input": (lambda a, b, *, x: a, 0.3, 0),
    "zero times": (lambda a, b, *, x: a + x * b, 0, 0),
    "minus zero times": (lambda a, b, *, x: a - x * b, -0.0, 0),
    "one times": (lambda a, b, *, x: b * x, 1, 1),
    "divided by one": (lambda a, b, *, x: b / x, 1, 1),
    "arithmetic of scalars": (lambda a, b, *, x: a * (x * 2 - 1) + b * 0, 1, 0),
    "constant condition": (lambda a, b, *, x: ops.where(x > 0.5, a, b), 0.2, 1),
    "equal branches": (lambda a, b, *, x: ops.where(a > b, a, a), 0.2, 0),
    "clipped scalar": (lambda a, b, *, x: a * ops.clip(x, 0, 1), 7, 0),
    "all rows": (lambda a, b, *, x: ops.where(ops.row_index(a) < ops.rows(a), b, a), 0, 1),
    "no rows": (lambda a, b, *, x: ops.where(ops.row_index(a) < -x, b, a), 1, 0),
    "from row zero": (lambda a, b, *, x: ops.where(ops.row_index(a) >= x, b, a), 0, 1),
    "some rows": (lambda a, b, *, x: ops.where(ops.row_index(a) < x, b, a), 1, None),
    "from a row on": (lambda a, b, *, x: ops.where(ops.row_index(a) >= x, b, a), 1, None),
    "sum": (lambda a, b, *, x: a + b, 0, None),
    "negative": (lambda a, b, *, x: x * a, -1, None),
    "almost one": (lambda a, b, *, x: x * a, 1 - 1e-16, None),
    "zero minus": (lambda a, b, *, x: x - a, 0, None),
    "reduction": (lambda a, b, *, x: a + x * ops.sum(b), 0, 0),
    "no value": (lambda a, b, *, x: a * ops.log(x), 0, None),
    "division by zero": (lambda a, b, *, x: a * (1 / x), 0, None),
    "overflow": (lambda a, b, *, x: a * ops.exp(x), 1e9, None),
    "random": (lambda a, b, *, x: a + x * ops.random_normal(a), 0, 0),
    "streams": (
        lambda a, b, *, x: ops.where(
            ops.random_uniform(a, stream=1) < ops.random_uniform(a, stream=2), a, b
        ),
        0,
        None,
    ),
}


@pytest.mark.parametrize(("body", "value", "expected"), CASES.values(), ids=CASES)
def test_reduces_to_input(body, value, expected):
    graph = trace(body, 2, ["x"])
    assert reduces_to_input(graph, [value]) == expected
    assert reduces_to_input(graph, [value]) == expected  # from the cache


SAME = {
    "its own difference": (lambda a, b, c, *, x: a + x * (b - c), 0.3, (0, 1, 1), 0),
    "difference of others": (lambda a, b, c, *, x: a + x * (b - c), 0.3, (0, 0, 2), None),
    "all of a difference": (lambda a, b, c, *, x: a + x * (b - c), 1, (0, 1, 0), 1),
    "two shares": (lambda a, b, c, *, x: (1 - x) * a + x * b, 0.3, (0, 0, 2), 0),
    "three shares": (lambda a, b, c, *, x: (1 - x) * a + x * b + x * c, 0.5, (0, 0, 0), None),
    "reduction of nothing": (
        lambda a, b, c, *, x: a + ops.kth_abs(b - c, 3) * ops.sum(b - c), 0, (0, 1, 1), 0,
    ),
    "product with nothing": (
        lambda a, b, c, *, x: a + ops.vecdot(a, b - c), 0, (0, 1, 1), 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "value", "same", "expected"), SAME.values(), ids=SAME)
def test_inputs_that_are_the_same_tensor_reduce_further(body, value, same, expected):
    graph = trace(body, 3, ["x"])
    assert reduces_to_input(graph, [value], same) == expected
    assert reduces_to_input(graph, [value]) in {None, expected}


@settings(max_examples=150)
@given(
    x=st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0]),
    y=st.sampled_from([0.0, 0.25, 1.0, 2.0]),
    name=st.sampled_from(sorted(CASES)),
)
def test_what_reduces_is_equal_on_data(x, y, name):
    body = CASES[name][0]
    graph = trace(lambda a, b, *, x, y: body(a, b, x=x) * (y + 0) + b * 0, 2, ["x", "y"])
    index = reduces_to_input(graph, [x, y])
    if index is None:
        return
    random = np.random.default_rng(0)
    inputs = [random.standard_normal((5, 3)).astype(np.float32) for _ in range(2)]
    np.testing.assert_array_equal(run_native(graph, inputs, [x, y]), inputs[index])


def test_chains_are_looked_through_once_for_each_value():
    """Each level is reached by two ways from the one above: 2^60 ways in all."""

    def bounded(*models):
        chain = models[0]
        for a, b in zip(models[1:-1:2], models[2:-1:2], strict=True):
            chain = ops.maximum(ops.maximum(chain, a), ops.maximum(chain, b))
        return ops.minimum(models[-1], chain)

    assert reduces_to_input(trace(bounded, 122, []), ()) is None


def test_chains_may_be_as_long_as_they_like():
    def bounded(*models):
        return ops.minimum(models[0], reduce(ops.maximum, models))

    assert reduces_to_input(trace(bounded, 3000, []), ()) == 0
