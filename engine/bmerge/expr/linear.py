"""Whether a method's body is a sum of its inputs with a factor each, the same for all elements.

What turns every input alike, as a rotation does, may then be left out on both sides.
"""

from __future__ import annotations

from functools import lru_cache

from bmerge.expr.graph import Graph, GraphNode
from bmerge.expr.scalars import SCALARS

__all__ = ["is_linear"]

_SUMS = frozenset({"neg", "add", "subtract"})


@lru_cache(maxsize=256)
def is_linear(graph: Graph) -> bool:
    """Tell whether the graph weighs its inputs by factors that depend on hyperparameters alone."""
    degrees: list[int | None] = []
    for node in graph.nodes:
        degrees.append(_degree(node, [degrees[arg] for arg in node.args]))
    return degrees[graph.output] == 1


def _degree(node: GraphNode, args: list[int | None]) -> int | None:
    """Return 1 for a sum of inputs, 0 for a number that no input has a part in, else None."""
    if node.op == "input":
        return 1
    if node.op in {"scalar", "constant"}:
        return 0
    if node.op in SCALARS and all(arg == 0 for arg in args):
        return 0
    if node.op in _SUMS and all(arg == 1 for arg in args):
        return 1
    scaled = (node.op == "multiply" and args == [0, 1]) or (
        node.op in {"multiply", "divide"} and args == [1, 0]
    )
    return 1 if scaled else None
