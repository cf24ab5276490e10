"""Finds out, before any data is read, that a merge only copies one of its inputs.

With known hyperparameters most of a method's arithmetic is known too: (1 - 0) * a + 0 * b is a.
Such a job is carried out as a copy of bytes, so that α = 0 and α = 1 give the inputs to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

from bmerge.expr.graph import REDUCTIONS, Graph, GraphNode
from bmerge.expr.scalars import SCALARS
from bmerge.records import dataclass

__all__ = ["reduces_to_input"]


@dataclass(frozen=True, slots=True, eq=False)
class _Term:
    """Something that depends on data; two that are the same object are equal."""

    op: str
    args: tuple[_Value, ...]
    constants: tuple[float, ...]


_Value: TypeAlias = "float | bool | _Term"


def reduces_to_input(
    graph: Graph, scalars: Sequence[float], same: Sequence[int] = ()
) -> int | None:
    """Return the index of the input that the graph is equal to, whatever the inputs hold.

    Inputs are taken to be finite: 0 * x counts as 0.

    Args:
        graph: what a method computes.
        scalars: the hyperparameters' values, in the order of ``graph.scalars``; what is not known
            yet is NaN, or left out at the end.
        same: for each input the first one that holds the very same tensor; empty if all differ.

    Returns:
        The index of an input, or None if the graph is not known to be a copy.
    """
    return _reduce(graph, tuple(map(float, scalars)), tuple(same))


@lru_cache(maxsize=4096)
def _reduce(graph: Graph, scalars: tuple[float, ...], same: tuple[int, ...]) -> int | None:
    terms: dict[object, _Term] = {}
    values: list[_Value] = []
    for node in graph.nodes:
        if node.op == "input" and same:
            node = GraphNode("input", (), (same[int(node.constants[0])],))  # noqa: PLW2901
        values.append(_value(node, [values[arg] for arg in node.args], scalars, terms))
    result = values[graph.output]
    is_input = isinstance(result, _Term) and result.op == "input"
    return int(result.constants[0]) if isinstance(result, _Term) and is_input else None


def _value(
    node: GraphNode, args: list[_Value], scalars: tuple[float, ...], terms: dict[object, _Term]
) -> _Value:
    if node.op == "constant":
        return node.constants[0]
    if node.op == "scalar":
        index = int(node.constants[0])
        if index < len(scalars) and not math.isnan(scalars[index]):
            return scalars[index]
    known = _fold(node.op, args)
    if node.op in REDUCTIONS:  # a number here is the same for all elements
        known = 0.0 if _is(args[0], 0) or (node.op == "vecdot" and _is(args[1], 0)) else None
    elif known is None and node.op in _RULES:
        known = _RULES[node.op](*args)
    if known is not None:
        return known
    # Numbers by their digits, which tell -0.0 from 0.0 and True from 1.0.
    key = (node.op, tuple(a if isinstance(a, _Term) else repr(a) for a in args), node.constants)
    return terms.setdefault(key, _Term(node.op, tuple(args), node.constants))


def _fold(op: str, args: list[_Value]) -> _Value | None:
    """Work out an operation on known numbers; None if it cannot be."""
    if op not in SCALARS or not args or any(isinstance(arg, _Term) for arg in args):
        return None
    try:
        value: float | bool = SCALARS[op](*args)
    except (ArithmeticError, ValueError):  # no finite value: left to the executor
        return None
    return value


def _is(value: _Value, number: float) -> bool:
    return not isinstance(value, _Term) and value == number


def _has_op(value: _Value, op: str) -> bool:
    return isinstance(value, _Term) and value.op == op


def _add(x: _Value, y: _Value) -> _Value | None:
    if isinstance(y, _Term) and y.op == "subtract" and y.args[1] is x:
        return y.args[0]
    return x if _is(y, 0) else y if _is(x, 0) else _share(x, y)


def _share(x: _Value, y: _Value) -> _Value | None:
    """Return the whole of which these are two shares, as ``0.7 * a + 0.3 * a`` is ``a``."""
    (p, a), (q, b) = _parted(x), _parted(y)
    return a if a is not None and a is b and p + q == 1 else None


def _parted(x: _Value) -> tuple[float, _Term | None]:
    """Return the factor and the term of ``number * term``."""
    if isinstance(x, _Term) and x.op == "multiply":
        for factor, term in (x.args, x.args[::-1]):
            if not isinstance(factor, _Term) and isinstance(term, _Term):
                return factor, term
    return 1.0, None


def _subtract(x: _Value, y: _Value) -> _Value | None:
    if isinstance(x, _Term) and x is y:
        return 0.0
    return x if _is(y, 0) else None


def _multiply(x: _Value, y: _Value) -> _Value | None:
    if _is(x, 0) or _is(y, 0):
        return 0.0
    return x if _is(y, 1) else y if _is(x, 1) else None


def _divide(x: _Value, y: _Value) -> _Value | None:
    return x if _is(y, 1) else None


def _minimum(x: _Value, y: _Value) -> _Value | None:
    return _absorbed(x, y, "maximum")


def _maximum(x: _Value, y: _Value) -> _Value | None:
    return _absorbed(x, y, "minimum")


def _absorbed(x: _Value, y: _Value, other: str) -> _Value | None:
    """Return x where min(x, max(x, …)) or max(x, min(x, …)) is asked for, and min(x, x)."""
    if x is y or _has_among(y, x, other):
        return x
    return y if _has_among(x, y, other) else None


def _has_among(chain: _Value, x: _Value, op: str) -> bool:
    """Tell whether x is one of those that a chain of ``op`` runs over."""
    waiting, seen = [chain], {id(chain)}
    while waiting:
        value = waiting.pop()
        if not isinstance(value, _Term) or value.op != op:
            continue
        if any(arg is x for arg in value.args):
            return True
        waiting += (arg for arg in value.args if id(arg) not in seen)
        seen.update(map(id, value.args))
    return False


def _where(condition: _Value, x: _Value, y: _Value) -> _Value | None:
    if isinstance(condition, _Term):
        return x if x is y else None
    return x if condition else y


def _logical_and(x: _Value, y: _Value) -> _Value | None:
    if _is(x, 0) or _is(y, 0) or _excludes(x, y) or _excludes(y, x):
        return False
    return y if _is(x, 1) else x if _is(y, 1) else None


def _excludes(x: _Value, y: _Value) -> bool:
    """Tell whether these are ``p >= q`` and ``p < q``: an empty range of rows."""
    if not isinstance(x, _Term) or not isinstance(y, _Term):
        return False
    return (x.op, y.op) == ("greater_equal", "less") and all(map(_same, x.args, y.args))


def _same(x: _Value, y: _Value) -> bool:
    return x is y if isinstance(x, _Term) else _is(y, x)


def _less(x: _Value, y: _Value) -> _Value | None:
    # An index is 0 or more, and less than the number of rows.
    if _has_op(x, "row_index"):
        if _has_op(y, "rows"):
            return True
        if not isinstance(y, _Term) and y <= 0:
            return False
    return None


def _greater_equal(x: _Value, y: _Value) -> _Value | None:
    less = _less(x, y)
    return None if less is None else not less


def _integer(x: _Value) -> _Value | None:
    return x if _has_op(x, "rows") or _has_op(x, "numel") else None


_RULES: dict[str, Callable[..., _Value | None]] = {
    "add": _add, "subtract": _subtract, "multiply": _multiply, "divide": _divide,
    "minimum": _minimum, "maximum": _maximum, "where": _where,
    "logical_and": _logical_and, "less": _less, "greater_equal": _greater_equal,
    "trunc": _integer, "floor": _integer, "ceil": _integer, "round": _integer,
}  # fmt: skip
