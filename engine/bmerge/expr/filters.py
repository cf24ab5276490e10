"""Reductions over filters as the core runs them: over the last dim of matrices.

Only reductions look at a tensor's inner shape, so a tensor whose dims behind dim 0 are taken
together gives the same in everything else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from bmerge.expr.graph import REDUCTIONS, Graph, GraphNode
from bmerge.expr.kinds import FILTERS

__all__ = ["as_matrices", "matrix_shape", "reduces_over"]

_LAST = -1


def reduces_over(graph: Graph, axis: int) -> bool:
    """Tell whether one of a graph's reductions is over an axis."""
    return any(_is_over(node, axis) for node in graph.nodes)


def _is_over(node: GraphNode, axis: int) -> bool:
    return node.op in REDUCTIONS and node.constants == (axis,)


def as_matrices(graph: Graph) -> Graph:
    """Return a graph for tensors of shape :func:`matrix_shape`; one without filters is itself."""
    if not reduces_over(graph, FILTERS):
        return graph
    nodes = (
        node._replace(constants=(_LAST,)) if _is_over(node, FILTERS) else node
        for node in graph.nodes
    )
    return replace(graph, nodes=tuple(nodes))


def matrix_shape(graph: Graph, shape: Sequence[int]) -> Sequence[int]:
    """Return the shape that the core takes a tensor for: one row for each filter, if it has any."""
    if len(shape) <= 2 or not reduces_over(graph, FILTERS):
        return shape
    return shape[0], math.prod(shape[1:])
