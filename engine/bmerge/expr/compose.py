"""Puts graphs into one another: what several steps compute becomes one graph.

What one step makes is float32, one number per element, as if it had been written to a file and
read again. Equal nodes are computed once, wherever they come from.
"""

from __future__ import annotations

from collections.abc import Sequence

from bmerge.expr.graph import Function, Graph, GraphNode, needed
from bmerge.expr.kinds import Extent, ValueKind, kind_of

__all__ = ["Composition"]


class Composition:
    """Collects the nodes of a graph; every method returns the index of a result."""

    def __init__(self) -> None:
        self._nodes: list[GraphNode] = []
        self._kinds: list[ValueKind] = []
        self._index: dict[object, int] = {}
        self._functions: list[Function] = []
        self._scalars: list[str] = []

    def input(self, index: int) -> int:
        """Return an input model."""
        return self._add(GraphNode("input", (), (float(index),)))

    def zero(self) -> int:
        """Return a tensor of zeros."""
        return self._add(
            GraphNode("multiply", (self._add(GraphNode("row_index")), self._constant(0.0)))
        )

    def subtract(self, x: int, y: int) -> int:
        """Return the difference of two results."""
        return self._add(GraphNode("subtract", (x, y)))

    def inline(self, graph: Graph, inputs: Sequence[int], scalars: Sequence[str]) -> int:
        """Return what a graph computes from other results; its scalars come after those before.

        Args:
            graph: what to compute.
            inputs: a result for each of its inputs.
            scalars: what its scalars are called here.
        """
        first = len(self._scalars)
        self._scalars += scalars
        number: list[int] = []
        for node in graph.nodes:
            args = tuple(number[arg] for arg in node.args)
            if node.op == "input":
                number.append(inputs[int(node.constants[0])])
                continue
            constants = node.constants
            if node.op == "scalar":
                constants = (first + constants[0],)
            if node.op == "call":
                constants = (self._function(graph.functions[int(constants[0])]), constants[1])
            number.append(self._add(GraphNode(node.op, args, constants)))
        return self._spread(number[graph.output])

    def graph(self, output: int, n_models: int) -> Graph:
        """Return the graph of one result.

        Args:
            output: the result.
            n_models: number of input models.
        """
        nodes, index = needed(self._nodes, output)
        return Graph(nodes, index, n_models, tuple(self._scalars), tuple(self._functions))

    def _spread(self, result: int) -> int:
        """Return a result as one number per element."""
        if self._kinds[result].extent is Extent.ELEMENTS:
            return result
        always = GraphNode(
            "greater_equal", (self._add(GraphNode("row_index")), self._constant(0.0))
        )
        return self._add(GraphNode("where", (self._add(always), result, result)))

    def _constant(self, value: float) -> int:
        return self._add(GraphNode("constant", (), (value,)))

    def _function(self, function: Function) -> float:
        if function not in self._functions:
            self._functions.append(function)
        return float(self._functions.index(function))

    def _add(self, node: GraphNode) -> int:
        # By their digits: 0.0 and -0.0 are equal but must not become one node.
        key = (node.op, node.args, tuple(value.hex() for value in node.constants))
        if key not in self._index:
            called = node.op == "call"
            kinds = [self._kinds[arg] for arg in node.args]
            kind = ValueKind(Extent.ELEMENTS) if called else kind_of(node.op, kinds, node.constants)
            self._index[key] = len(self._nodes)
            self._nodes.append(node)
            self._kinds.append(kind)
        return self._index[key]
