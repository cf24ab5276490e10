"""Random method bodies: the native program, the torch executor's arithmetic and the plain
function must agree to the bit, on infinities, NaN and signed zeros too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bmerge import ops
from bmerge.expr import trace
from running import assert_same_bits, run_native, run_torch

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, 3e38, -1.0, 0.5, 2.5, -3.5, 1.0]
CONSTANTS = [0.0, -0.0, 1.0, -1.5, 0.1, 1e-3, 3.0, 1e30]

UNARY = {
    "neg": lambda x: -x, "abs": ops.abs, "sign": ops.sign, "sqrt": ops.sqrt,
    "square": lambda x: x**2, "floor": ops.floor, "ceil": ops.ceil, "trunc": ops.trunc,
    "round": ops.round,
}  # fmt: skip
BINARY = {
    "add": lambda x, y: x + y, "subtract": lambda x, y: x - y, "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y, "minimum": ops.minimum, "maximum": ops.maximum,
    "copysign": ops.copysign,
}  # fmt: skip
COMPARE = {
    "less": lambda x, y: x < y, "less_equal": lambda x, y: x <= y,
    "greater": lambda x, y: x > y, "greater_equal": lambda x, y: x >= y,
    "equal": lambda x, y: x == y, "not_equal": lambda x, y: x != y,
}  # fmt: skip
LOGICAL = {
    "and": lambda p, q: p & q, "or": lambda p, q: p | q, "not and": lambda p, q: ~(p & q),
}  # fmt: skip

leaves = st.sampled_from(["a", "b", "alpha", "beta"]) | st.sampled_from(CONSTANTS)


def _number(children):
    condition = st.tuples(st.sampled_from(sorted(COMPARE)), children, children)
    conditions = condition | st.tuples(st.sampled_from(sorted(LOGICAL)), condition, condition)
    return (
        st.tuples(st.sampled_from(sorted(UNARY)), children)
        | st.tuples(st.sampled_from(sorted(BINARY)), children, children)
        | st.tuples(st.just("where"), conditions, children, children)
    )


def body(tree):
    """Make a method's body of a tree."""

    def function(a, b, *, alpha, beta):
        leaf = {"a": a, "b": b, "alpha": alpha, "beta": beta}

        def value(node):
            if not isinstance(node, tuple):
                # A constant without a tensor is kept as one per tensor, not as a Python number.
                return leaf[node] if isinstance(node, str) else alpha * 0 + node
            name, *args = node
            table = {**UNARY, **BINARY, **COMPARE, **LOGICAL, "where": ops.where}
            return table[name](*map(value, args))

        return value(tree) + 0 * a

    return function


def _data(shape, seed):
    random = np.random.default_rng(seed)
    values = random.standard_normal(shape).astype(np.float32)
    special = random.choice(np.array(SPECIAL, dtype=np.float32), shape)
    return np.where(random.random(shape) < 0.3, special, values).astype(np.float32)


@settings(max_examples=300)
@given(
    tree=st.recursive(leaves, _number, max_leaves=12),
    size=st.sampled_from([1, 3, 16, 37]),
    scalars=st.tuples(*[st.sampled_from([0.0, 1.0, 0.3, -0.7, 1e-9, 2.0])] * 2),
    seed=st.integers(0, 2**16),
)
def test_random_bodies_are_the_same_on_every_executor(tree, size, scalars, seed):
    inputs = [_data((size,), seed), _data((size,), seed + 1)]
    function = body(tree)
    graph = trace(function, 2, ["alpha", "beta"])
    native = run_native(graph, inputs, scalars)
    assert_same_bits(run_torch(graph, inputs, scalars), native)
    tensors = [torch.from_numpy(x) for x in inputs]
    alpha, beta = (torch.tensor(x, dtype=torch.float64) for x in scalars)
    assert_same_bits(function(*tensors, alpha=alpha, beta=beta).numpy(), native)


@pytest.mark.parametrize("value", [2.0, 0.3])
def test_number_divided_by_elements_is_one_division(value):
    x = np.linspace(0.1, 9, 1001, dtype=np.float32)
    graph = trace(lambda a: value / a, 1, [])
    exact = np.float32(value) / x
    assert_same_bits(run_torch(graph, [x], []), exact)
    assert_same_bits(run_native(graph, [x], []), exact)


@pytest.mark.parametrize("op", [ops.minimum, ops.maximum], ids=["minimum", "maximum"])
def test_the_second_of_equals_is_taken_of_every_element(op):
    zeros = np.zeros(37, np.float32)
    graph = trace(op, 2, [])
    for x, y in ((zeros, -zeros), (-zeros, zeros)):
        for found in (run_native(graph, [x, y], []), run_torch(graph, [x, y], [])):
            assert_same_bits(found, y)
