"""A merge method's body as data: nodes in topological order.

The form is that of ``bmerge._native.Program``, which takes :attr:`Graph.nodes` as they are; the
torch executor runs the same nodes one by one. A body that cannot be taken apart is one node
``call`` of its tensors and numbers, and the function itself; the native engine cannot run it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, NamedTuple

from bmerge.records import dataclass

__all__ = ["IDENTITY", "Function", "Graph", "GraphNode", "call", "needed"]

REDUCTIONS = frozenset(
    {"sum", "mean", "vector_norm", "min", "max", "any", "all", "vecdot", "kth_abs"}
)


class GraphNode(NamedTuple):
    """One operation.

    Args:
        op: its name, as in ``_native.Program``.
        args: indices of earlier nodes.
        constants: numbers that belong to the operation: an index, a value, an axis, a stream.
    """

    op: str
    args: tuple[int, ...] = ()
    constants: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """What a ``call`` node calls; the node's constants are its index and a shift of streams.

    Args:
        function: takes torch tensors, and numbers by name; returns a tensor of their shape.
        n_models: how many of the node's arguments are tensors; the others are numbers.
        names: of the numbers.
        name: of the method that it is, for messages.
        place: file and line where it stands, or nothing if that is not known.
    """

    function: Callable[..., Any]
    n_models: int
    names: tuple[str, ...]
    name: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    """What a merge method computes for one tensor.

    Args:
        nodes: in topological order, each different, all needed for the output.
        output: index of the node that is the result.
        n_models: number of input models that the method was given.
        scalars: names of the hyperparameters; a ``scalar`` node's constant is an index here.
        functions: what ``call`` nodes call.
    """

    nodes: tuple[GraphNode, ...]
    output: int
    n_models: int
    scalars: tuple[str, ...]
    functions: tuple[Function, ...] = ()
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Hash the nodes once: graphs are looked up for every tensor, and may be long."""
        parts = (self.nodes, self.output, self.n_models, self.scalars, self.functions)
        object.__setattr__(self, "_hash", hash(parts))

    def __hash__(self) -> int:
        """Return the hash of all that makes graphs equal."""
        return self._hash

    @property
    def ops(self) -> frozenset[str]:
        """The names of all operations in it."""
        return frozenset(node.op for node in self.nodes)

    @property
    def inputs(self) -> tuple[int, ...]:
        """The inputs that the output depends on, ascending; others need not be read."""
        return tuple(sorted(int(n.constants[0]) for n in self.nodes if n.op == "input"))

    @property
    def has_reduction(self) -> bool:
        """Whether an element of the output depends on other elements than its own."""
        return self.is_opaque or not self.ops.isdisjoint(REDUCTIONS)

    @property
    def is_opaque(self) -> bool:
        """Whether it calls a function of whole torch tensors, which only torch can run."""
        return bool(self.functions)


def call(
    function: Callable[..., Any],
    n_models: int,
    scalar_names: Sequence[str],
    *,
    name: str | None = None,
    place: str = "",
) -> Graph:
    """Return the graph that calls a function with all inputs and hyperparameters.

    Args:
        function: takes torch tensors, and numbers by name; returns a tensor of their shape.
        n_models: how many tensors it takes.
        scalar_names: names of the numbers.
        name: of the method, for messages; the function's own if left out.
        place: file and line where it stands.
    """
    inputs = [GraphNode("input", (), (float(index),)) for index in range(n_models)]
    scalars = [GraphNode("scalar", (), (float(index),)) for index in range(len(scalar_names))]
    nodes = (*inputs, *scalars)
    result = GraphNode("call", tuple(range(len(nodes))), (0.0, 0.0))
    names = tuple(scalar_names)
    functions = (Function(function, n_models, names, name or function.__name__, place),)
    return Graph((*nodes, result), len(nodes), n_models, names, functions)


IDENTITY = Graph((GraphNode("input", (), (0,)),), 0, 1, ())
"""What is computed where a tensor keeps its values and changes its dtype."""


def needed(nodes: Sequence[GraphNode], output: int) -> tuple[tuple[GraphNode, ...], int]:
    """Drop the nodes that ``output`` does not depend on and number the others anew."""
    wanted = {output}
    for index in range(output, -1, -1):
        if index in wanted:
            wanted.update(nodes[index].args)
    number = {old: new for new, old in enumerate(sorted(wanted))}
    kept = [nodes[old] for old in sorted(wanted)]
    renumbered = (node._replace(args=tuple(number[a] for a in node.args)) for node in kept)
    return tuple(renumbered), number[output]
