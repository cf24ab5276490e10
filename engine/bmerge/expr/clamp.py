"""The result of any method, limited to the range of models: nodes added to its graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, reduce
from typing import Any, TypeVar

from bmerge.expr.graph import Graph, Node

__all__ = ["clamped"]

T = TypeVar("T")


@lru_cache(maxsize=256)
def clamped(graph: Graph, bounds: tuple[int, ...]) -> Graph:
    """Return a graph whose result lies between the least and the greatest of some inputs.

    Args:
        graph: what a method computes.
        bounds: indices of the inputs, one or more; each element has limits of its own.
    """
    if graph.function is not None:
        return replace(graph, function=_called(graph.function, bounds))
    nodes = list(graph.nodes)

    def apply(op: str, *args: int, constants: tuple[float, ...] = ()) -> int:
        node = Node(op, args, constants)
        if node not in nodes:
            nodes.append(node)
        return nodes.index(node)

    inputs = [apply("input", constants=(float(index),)) for index in bounds]
    output = _limited(apply, graph.output, inputs)
    return replace(graph, nodes=tuple(nodes), output=output)


def _called(function: Callable[..., Any], bounds: tuple[int, ...]) -> Callable[..., Any]:
    def limited(*models: Any, **numbers: Any) -> Any:
        from bmerge.expr import eager  # who calls this has torch

        def apply(op: str, *args: Any) -> Any:
            return eager.apply(op, args)

        result = function(*models, **numbers)
        return _limited(apply, result, [models[index] for index in bounds])

    return limited


def _limited(apply: Callable[[str, T, T], T], result: T, inputs: Sequence[T]) -> T:
    low = reduce(lambda x, y: apply("minimum", x, y), inputs)
    high = reduce(lambda x, y: apply("maximum", x, y), inputs)
    return apply("minimum", apply("maximum", result, low), high)
