"""Runs a graph on torch tensors, node by node: the torch executor's arithmetic.

It follows the graph, not the method's function, because some of torch's own operators are not
exact (``1 / x`` there is a reciprocal and then a product), and because a graph tells when a
value is needed for the last time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bmerge.errors import BmergeError, MethodError
from bmerge.expr import eager
from bmerge.expr.graph import Graph, GraphNode
from bmerge.expr.returned import checked
from bmerge.expr.window import POSITIONS, Window, position, seeded
from bmerge.faults import contained, in_one_line

__all__ = ["evaluate"]


def evaluate(
    graph: Graph,
    inputs: Mapping[int, Tensor],
    scalars: Sequence[float],
    window: Window,
    device: torch.device,
) -> Tensor:
    """Compute a graph.

    Args:
        graph: what to compute.
        inputs: index → float32 tensor of the window's shape, for each of ``graph.inputs``.
        scalars: the hyperparameters' values, in the order of ``graph.scalars``.
        window: the part that the inputs are.
        device: where the inputs lie.

    Returns:
        A float32 tensor of the window's shape.

    Raises:
        MethodError: if a function of whole tensors fails, or returns what is not a merged tensor.
    """

    def value_of(node: GraphNode) -> Tensor:
        if node.op == "input":
            return inputs[int(node.constants[0])]
        if node.op in POSITIONS:
            return position(node.op, node.constants, window, device)
        if node.op in ("scalar", "constant"):
            number = node.constants[0] if node.op == "constant" else scalars[int(node.constants[0])]
            return torch.tensor(float(number), dtype=torch.float64, device=device)
        if node.op == "call":
            return _called(graph, node, [values[arg] for arg in node.args], window)
        return eager.apply(node.op, [values[arg] for arg in node.args], node.constants)

    values: dict[int, Tensor] = {}
    dead = _dead_after(graph)
    for index, node in enumerate(graph.nodes):
        values[index] = value_of(node)
        for argument in dead[index]:
            del values[argument]
    return _of_shape(values[graph.output].float(), window)


def _called(graph: Graph, node: GraphNode, values: Sequence[Tensor], window: Window) -> Tensor:
    """Call a function of whole tensors; its random numbers are those of the window."""
    index, stream = map(int, node.constants)
    called = graph.functions[index]
    models = values[: called.n_models]
    if not window.count:  # sorting, SVD and the like have no meaning for nothing
        return models[0].clone()
    if len(graph.functions) > 1 or len(graph.nodes) > len(values) + 1:
        models = [model.clone() for model in models]  # others read them, and it may write
    numbers = dict(zip(called.names, map(float, values[called.n_models :]), strict=True))
    with torch.no_grad(), seeded(window.seed, stream):
        try:
            with contained():
                result = called.function(*models, **numbers)
        except (BmergeError, torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:
            # Whether it can be decomposed, what is not finite cannot be asked of a method.
            bad = not all(torch.isfinite(model).all() for model in models)
            if not bad or not isinstance(error, torch.linalg.LinAlgError):  # type: ignore[attr-defined]
                raise MethodError(f"{called.name} fails: {in_one_line(error)}") from error
            return torch.full_like(models[0], torch.nan)
    return checked(result, called, models).float()


def _of_shape(result: Tensor, window: Window) -> Tensor:
    if result.shape == window.shape:
        return result
    return result.expand(window.shape).clone(memory_format=torch.contiguous_format)


def _dead_after(graph: Graph) -> list[list[int]]:
    """Say after which node which values are no longer needed, so that memory is given back."""
    last = {arg: index for index, node in enumerate(graph.nodes) for arg in node.args}
    dead: list[list[int]] = [[] for _ in graph.nodes]
    for argument, index in last.items():
        dead[index].append(argument)
    return dead
