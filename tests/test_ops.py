"""bmerge.ops on numbers, torch tensors and programs, against numpy in float64."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from bmerge import ops
from bmerge.errors import ExecutorError, MethodError
from bmerge.expr import trace
from bmerge.expr.eager import OPS
from bmerge.expr.window import POSITIONS
from running import run_native, run_torch

X = np.array([-3.5, -2.5, -1.0, -0.3, -0.0, 0.0, 1e-40, 0.5, 1.0, 2.5, 7.25], dtype=np.float32)
Y = np.array([2.0, 0.5, -1.0, 0.0, -0.0, 3.0, 1.0, -0.5, 1.0, 2.0, -2.0], dtype=np.float32)

UNARY = {
    "abs": np.abs, "sign": np.sign, "sqrt": np.sqrt, "square": np.square, "exp": np.exp,
    "log": np.log, "sin": np.sin, "cos": np.cos, "acos": np.arccos, "tanh": np.tanh,
    "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.round,
}  # fmt: skip
PREDICATES = {"isnan": np.isnan, "isfinite": np.isfinite}
BINARY = {
    "pow": np.power, "minimum": np.minimum, "maximum": np.maximum, "copysign": np.copysign,
}  # fmt: skip
LOGICAL = {"logical_and": np.logical_and, "logical_or": np.logical_or}
REDUCTIONS = {
    "sum": np.sum, "mean": np.mean, "vector_norm": lambda x, axis: np.sqrt((x * x).sum(axis)),
    "min": np.min, "max": np.max,
}  # fmt: skip
SHAPES = [(1,), (7,), (5, 3), (3, 1, 4), (2, 2050)]


def _exact(function, *args, **options):
    with np.errstate(all="ignore"):
        return function(*(np.asarray(arg, dtype=np.float64) for arg in args), **options)


def _everywhere(body, *arrays):
    """Run a body on torch tensors, by the torch executor's arithmetic, and natively."""
    yield body(*(torch.from_numpy(array) for array in arrays)).numpy()
    graph = trace(body, len(arrays), [])
    yield run_torch(graph, arrays, [])
    yield run_native(graph, arrays, [])


def _assert_rounded(result, exact):
    with np.errstate(over="ignore"):
        expected = np.asarray(exact, dtype=np.float32)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
    finite = np.isfinite(expected)
    np.testing.assert_array_max_ulp(result[finite], expected[finite], maxulp=1)


def test_every_operation_of_the_engine_has_a_name_or_an_operator():
    operators = {"neg", "add", "subtract", "multiply", "divide", "less", "less_equal", "greater",
                 "greater_equal", "equal", "not_equal"}  # fmt: skip
    vocabulary = {*ops.__all__} - {"Axis", "Tensor", "clip"}
    assert vocabulary == {*OPS, *POSITIONS} - operators


@pytest.mark.parametrize("name", [n for n in ops.__all__ if n not in {"Axis", "Tensor"}])
def test_every_operation_is_documented(name):
    assert getattr(ops, name).__doc__.rstrip().endswith(".")


@pytest.mark.parametrize(("name", "exact"), UNARY.items(), ids=UNARY)
def test_unary_operation_everywhere(name, exact):
    for result in _everywhere(getattr(ops, name), X):
        _assert_rounded(result, _exact(exact, X))


@pytest.mark.parametrize(("name", "exact"), BINARY.items(), ids=BINARY)
def test_binary_operation_everywhere(name, exact):
    for result in _everywhere(getattr(ops, name), X, Y):
        _assert_rounded(result, _exact(exact, X, Y))


@pytest.mark.parametrize(("name", "exact"), PREDICATES.items(), ids=PREDICATES)
def test_predicate_everywhere(name, exact):
    values = np.array([1.0, np.nan, np.inf, -np.inf, 0.0], dtype=np.float32)
    for result in _everywhere(lambda x: ops.where(getattr(ops, name)(x), 1.0, 2.0), values):
        np.testing.assert_array_equal(result, np.where(exact(values), 1, 2))


@pytest.mark.parametrize(("name", "exact"), LOGICAL.items(), ids=LOGICAL)
def test_logical_operation_everywhere(name, exact):
    def body(x, y):
        both = getattr(ops, name)(x > 0, y > 0)
        return ops.where(ops.logical_not(both), 0.0, 1.0)

    for result in _everywhere(body, X, Y):
        np.testing.assert_array_equal(result, exact(X > 0, Y > 0))


def test_where_and_clip_everywhere():
    for result in _everywhere(lambda x, y: ops.clip(ops.where(x < y, x, y), -1.5, 2), X, Y):
        np.testing.assert_array_equal(result, np.clip(np.minimum(X, Y), -1.5, 2))


def test_mask_times_elements_everywhere():
    for result in _everywhere(lambda x, y: (x > y) * x, X, Y):
        np.testing.assert_array_equal(result, np.where(X > Y, X, 0))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("axis", [None, 0, -1, "filter"])
@pytest.mark.parametrize(("name", "exact"), REDUCTIONS.items(), ids=REDUCTIONS)
def test_reduction_everywhere(name, exact, axis, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    seen = x.reshape(len(x), -1) if axis == "filter" and x.ndim > 1 else x
    over = -1 if axis == "filter" else axis
    expected = exact(seen.astype(np.float64), axis=over)
    if axis == "filter":
        expected = expected.reshape(-1, *[1] * (x.ndim - 1))
    elif axis is not None:
        expected = np.expand_dims(expected, axis)
    for result in _everywhere(lambda x: 0 * x + getattr(ops, name)(x, axis=axis), x):
        _assert_rounded(result, np.broadcast_to(expected, shape))


def test_reductions_over_filters_and_the_last_dim_run_on_torch_alone():
    graph = trace(lambda x: x + ops.sum(x, axis="filter") - ops.sum(x, axis=-1), 1, [])
    x = np.ones((2, 3, 4), dtype=np.float32)
    np.testing.assert_array_equal(run_torch(graph, [x], []), np.full((2, 3, 4), 1.0 + 12 - 4))
    with pytest.raises(ExecutorError, match="over filters and over the last dim do not run"):
        run_native(graph, [x], [])


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_vecdot_any_all_everywhere(axis):
    x, y = np.random.default_rng(0).standard_normal((2, 6, 4)).astype(np.float32)
    keep = {"axis": axis, "keepdims": True}
    where, some, every = ops.where, (x > 1).any(**keep), (x > -1).all(**keep)
    cases = [
        (lambda x, y: 0 * x + ops.vecdot(x, y, axis=axis), (x.astype(float) * y).sum(**keep)),
        (lambda x, y: where(ops.any(x > 1, axis=axis), x, y), np.where(some, x, y)),
        (lambda x, y: where(ops.all(x > -1, axis=axis), x, y), np.where(every, x, y)),
        (lambda x, y: 0 * x + ops.sum(x > y, axis=axis), (x > y).sum(**keep)),
        (lambda x, y: 0 * x + ops.mean(x > y, axis=axis), (x > y).mean(**keep)),
    ]  # fmt: skip
    for body, expected in cases:
        for result in _everywhere(body, x, y):
            _assert_rounded(result, np.broadcast_to(expected, x.shape))


@pytest.mark.parametrize("k", [-1, 1, 2, 7.9, 35, 1e9])
def test_kth_abs_everywhere(k):
    x = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    expected = np.sort(np.abs(x).ravel())[min(max(int(k), 1), 35) - 1]
    for result in _everywhere(lambda x: 0 * x + ops.kth_abs(x, k), x):
        np.testing.assert_array_equal(result, np.full_like(x, expected))


@pytest.mark.parametrize(
    ("name", "of_nothing"), [("sum", 0), ("min", math.inf), ("max", -math.inf), ("mean", math.nan)]
)
def test_reduction_of_nothing(name, of_nothing):
    result = getattr(ops, name)(torch.empty(0))
    np.testing.assert_equal(float(result), of_nothing)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_positions_everywhere(shape):
    x = np.zeros(shape, dtype=np.float32)
    row = np.arange(shape[0], dtype=np.float32).reshape(-1, *[1] * (len(shape) - 1))
    expected = row + 100 * shape[0] + 1e5 * x.size + x
    for result in _everywhere(
        lambda x: ops.row_index(x) + 100 * ops.rows(x) + 1e5 * ops.numel(x) + x, x
    ):
        np.testing.assert_array_equal(result, expected.astype(np.float32))


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 5, 2**64 - 1])
def test_random_numbers_are_those_of_the_native_engine(seed):
    x = np.zeros((3, 347), dtype=np.float32)
    uniform = trace(lambda x: ops.random_uniform(x, stream=3), 1, [])
    np.testing.assert_array_equal(
        run_torch(uniform, [x], [], seed), run_native(uniform, [x], [], seed)
    )
    normal = trace(lambda x: ops.random_normal(x, stream=2**32 - 1), 1, [])
    np.testing.assert_array_max_ulp(
        run_torch(normal, [x], [], seed), run_native(normal, [x], [], seed), maxulp=1
    )


def test_random_numbers_have_their_distribution():
    x = torch.zeros(200_000)
    uniform, normal = ops.random_uniform(x), ops.random_normal(x)
    assert 0 <= uniform.min() < 1e-4
    assert 1 - 1e-4 < uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.003
    assert abs(normal.mean()) < 0.01
    assert abs(normal.std() - 1) < 0.01
    assert not torch.equal(uniform, ops.random_uniform(x, stream=1))


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (ops.abs(-2), 2),
        (ops.sign(-0.5), -1.0),
        (ops.sqrt(4), 2.0),
        (ops.trunc(-1.5), -1.0),
        (ops.round(2.5), 2.0),
        (ops.minimum(1, math.nan), math.nan),
        (ops.maximum(1, 2), 2),
        (ops.clip(5, 0, 1), 1),
        (ops.where(ops.isfinite(1.0), 1, 2), 1),
        (ops.pow(2, 3), 8.0),
        (ops.isnan(math.nan), True),
    ],
)
def test_operations_on_numbers(result, expected):
    np.testing.assert_equal(result, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.sum(3.0), "ops.sum takes a tensor, got float"),
        (lambda: ops.rows(3.0), "ops.rows takes a tensor, got float"),
        (lambda: ops.sum(torch.ones(2), axis=1), "ops.sum over axis 1"),
    ],
)
def test_what_has_no_meaning_is_refused(call, message):
    with pytest.raises(MethodError, match=message):
        call()


def test_half_precision_tensors_stay_what_they_are():
    assert ops.maximum(torch.ones(2, dtype=torch.float16), 3).dtype is torch.float16


def test_import_costs_no_torch():
    code = (
        "import sys, bmerge.ops as o; o.clip(1, 2, 3); "
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]
