"""The result of any method, limited to the range of models: nodes added to its graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, reduce

from bmerge.expr.graph import Graph, GraphNode

__all__ = ["clamped"]


@lru_cache(maxsize=256)
def clamped(graph: Graph, bounds: tuple[int, ...]) -> Graph:
    """Return a graph whose result lies between the least and the greatest of some inputs.

    Args:
        graph: what a method computes.
        bounds: indices of the inputs, one or more; each element has limits of its own.
    """
    nodes = list(graph.nodes)

    def apply(op: str, *args: int, constants: tuple[float, ...] = ()) -> int:
        node = GraphNode(op, args, constants)
        if node not in nodes:
            nodes.append(node)
        return nodes.index(node)

    inputs = [apply("input", constants=(float(index),)) for index in bounds]
    output = _limited(apply, graph.output, inputs)
    return replace(graph, nodes=tuple(nodes), output=output)


def _limited(apply: Callable[..., int], result: int, inputs: Sequence[int]) -> int:
    low = reduce(lambda x, y: apply("minimum", x, y), inputs)
    high = reduce(lambda x, y: apply("maximum", x, y), inputs)
    return apply("minimum", apply("maximum", result, low), high)
