"""Tracing: what is recorded, what is left out, and what is refused with which words."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch

from bmerge import Weight, _native, merge_method, ops
from bmerge.errors import MethodError
from bmerge.expr import GraphNode, trace


def test_trace_records_the_nodes_that_the_native_program_takes():
    graph = trace(lambda a, b, *, alpha: (1 - alpha) * a + alpha * b, 2, ["alpha"])
    assert graph.nodes == (
        GraphNode("input", (), (0.0,)),
        GraphNode("input", (), (1.0,)),
        GraphNode("scalar", (), (0.0,)),
        GraphNode("constant", (), (1.0,)),
        GraphNode("subtract", (3, 2)),
        GraphNode("multiply", (4, 0)),
        GraphNode("multiply", (2, 1)),
        GraphNode("add", (5, 6)),
    )
    assert (graph.output, graph.n_models, graph.scalars) == (7, 2, ("alpha",))
    program = _native.Program(graph.nodes, graph.output)
    assert (program.inputs, program.scalars, program.passes) == (2, 1, 1)


def test_trace_records_equal_expressions_once():
    graph = trace(lambda a, b: (a - b) * (a - b) + ops.abs(a - b), 2, [])
    assert [node.op for node in graph.nodes].count("subtract") == 1


def test_trace_keeps_the_two_zeros_apart():
    graph = trace(lambda a: ops.copysign(a, 0.0) + ops.copysign(a, -0.0), 1, [])
    constants = [node.constants[0] for node in graph.nodes if node.op == "constant"]
    assert [math.copysign(1, value) for value in constants] == [1, -1]


def test_trace_leaves_out_what_the_result_does_not_need():
    def body(a, b, *, alpha, beta):
        ops.sum(a * b)
        return b * beta

    graph = trace(body, 2, ["alpha", "beta"])
    assert graph.nodes == (
        GraphNode("input", (), (1.0,)),
        GraphNode("scalar", (), (1.0,)),
        GraphNode("multiply", (0, 1)),
    )
    assert graph.inputs == (1,)
    assert not graph.has_reduction


def test_trace_knows_reductions():
    graph = trace(lambda a: a / ops.vector_norm(a), 1, [])
    assert graph.has_reduction
    assert "vector_norm" in graph.ops


def test_square_is_not_a_power():
    assert {node.op for node in trace(lambda a: a**2, 1, []).nodes} == {"input", "square"}
    assert "pow" in trace(lambda a: a**3, 1, []).ops


def test_operators_work_with_numpy_numbers_on_the_left():
    graph = trace(lambda a: np.float64(2) * a + np.float64(1), 1, [])
    assert [node.op for node in graph.nodes if node.args] == ["multiply", "add"]


@pytest.mark.parametrize("value", [3, 0.5])
def test_body_may_return_a_number(value):
    graph = trace(lambda a: value, 1, [])
    assert graph.nodes == (GraphNode("constant", (), (float(value),)),)


def _branch(a, *, alpha):
    return a if alpha > 0 else -a


REFUSED = {
    "if": (_branch, "ops.where"),
    "float": (lambda a, *, alpha: a * math.sqrt(alpha), "bmerge.ops"),
    "torch": (lambda a, *, alpha: torch.relu(a) * alpha, "bmerge.ops"),
    "method": (lambda a, *, alpha: a.mean(), "bmerge.ops"),
    "shape": (lambda a, *, alpha: a * a.shape[0], "bmerge.ops"),
    "index": (lambda a, *, alpha: a[0], "bmerge.ops"),
    "loop": (lambda a, *, alpha: alpha * sum(a), "bmerge.ops"),
    "string": (lambda a, *, alpha: a + "1", "only numbers"),
    "boolean": (lambda a, *, alpha: ops.where(a > 0, a, alpha > 0), "ops.where(mask, 1.0, 0.0)"),
    "count": (lambda a, *, alpha: (a > 0) + (a > 1), "ops.where(mask, 1.0, 0.0)"),
    "invert": (lambda a, *, alpha: ~a, "compare first"),
    "condition": (lambda a, *, alpha: ops.where(a, a, a), "compare first"),
    "reduced twice": (lambda a, *, alpha: ops.sum(ops.sum(a)), "reduced already"),
    "mask result": (lambda a, *, alpha: a > 0, "return the merged tensor"),
    "none": (lambda a, *, alpha: None, "return the merged tensor"),
}


@pytest.mark.parametrize(("body", "words"), REFUSED.values(), ids=REFUSED)
def test_trace_refuses_and_says_what_to_write(body, words):
    with pytest.raises(MethodError) as caught:
        trace(body, 1, ["alpha"], name="mine")
    assert words in f"{caught.value} {caught.value.hint}"
    assert "\n" not in str(caught.value)


def test_trace_names_the_method_what_python_says_and_the_line():
    body = lambda a: a % 2  # noqa: E731
    with pytest.raises(MethodError, match="mine cannot be traced: unsupported operand") as caught:
        trace(body, 1, [], name="mine")
    assert str(caught.value).endswith(f" ({__file__}:{body.__code__.co_firstlineno})")
    assert caught.value.hint == "a method's body is made of operators and bmerge.ops"


def test_what_a_body_may_not_do_is_told_with_its_line():
    def body(a):
        b = a * 2
        return a if b > 0 else b

    with pytest.raises(MethodError, match="a decision on a traced value") as caught:
        trace(body, 1, [], name="mine")
    assert str(caught.value).endswith(f" ({__file__}:{body.__code__.co_firstlineno + 2})")


@pytest.mark.parametrize("result", [None, "mask"])
def test_what_a_method_returns_wrongly_is_told_with_its_place(result):
    @merge_method
    def mine(a, b, *, alpha: Weight = 0.5):
        return result and a > b

    line = inspect.unwrap(mine.function).__code__.co_firstlineno
    with pytest.raises(MethodError, match=rf"mine: returns \S.*test_trace.py:{line}\)"):
        mine.graph(2)


def test_trace_refuses_values_of_another_trace():
    kept = []
    trace(lambda a: kept.append(a) or a, 1, [])
    with pytest.raises(MethodError, match="another method"):
        trace(lambda a: a + kept[0], 1, [])


def test_trace_lets_errors_of_the_body_through():
    def body(a):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trace(body, 1, [])
