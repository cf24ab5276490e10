"""Runs a method's body once on symbols and keeps what the result depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bmerge.errors import MethodError
from bmerge.expr.graph import Graph, needed
from bmerge.expr.symbol import Recorder, Symbol

__all__ = ["trace"]


def trace(
    function: Callable[..., Any],
    n_models: int,
    scalar_names: Sequence[str],
    *,
    name: str | None = None,
) -> Graph:
    """Turn a method's body into a graph.

    Args:
        function: the body; called once, with symbols.
        n_models: how many input models to give it, as positional arguments.
        scalar_names: hyperparameters to give it, as keyword arguments.
        name: of the method, for messages; the function's own if left out.

    Returns:
        The graph, without duplicate nodes and without those that the result does not need.

    Raises:
        MethodError: if the body does what cannot be traced, or returns no value.
    """
    recorder = Recorder(name or function.__name__)
    models = [recorder.apply("input", constants=[index]) for index in range(n_models)]
    scalars = {
        scalar: recorder.apply("scalar", constants=[index])
        for index, scalar in enumerate(scalar_names)
    }
    try:
        result = function(*models, **scalars)
    except TypeError as error:  # an operator or function that symbols do not have
        raise MethodError(f"{recorder.method} cannot be traced: {error}") from error
    output = _output(recorder, result)
    nodes, index = needed(recorder.nodes, output.index)
    return Graph(nodes, index, n_models, tuple(scalar_names))


def _output(recorder: Recorder, result: object) -> Symbol:
    if isinstance(result, (int, float)) and not isinstance(result, bool):
        return recorder.apply("constant", constants=[result])
    if not isinstance(result, Symbol) or result.recorder is not recorder:
        recorder.fail(f"returns {type(result).__name__}", "return the merged tensor")
    if result.kind.boolean:
        recorder.fail("returns a boolean", "return the merged tensor")
    return result
