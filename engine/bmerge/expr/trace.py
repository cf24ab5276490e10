"""Runs a method's body once on symbols and keeps what the result depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bmerge.errors import MethodError
from bmerge.expr.graph import Graph, needed
from bmerge.expr.symbol import USE_OPS, Recorder, Symbol
from bmerge.faults import EndedError, contained, place_of

__all__ = ["trace"]


def trace(
    function: Callable[..., Any],
    n_models: int,
    scalar_names: Sequence[str],
    *,
    name: str | None = None,
    place: str = "",
) -> Graph:
    """Turn a method's body into a graph.

    Args:
        function: the body; called once, with symbols.
        n_models: how many input models to give it, as positional arguments.
        scalar_names: hyperparameters to give it, as keyword arguments.
        name: of the method, for messages; the function's own if left out.
        place: file and line where it stands, for messages; empty if that is not known.

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
        with contained():
            result = function(*models, **scalars)
    except TypeError as error:  # an operator or function that symbols do not have
        message = f"{recorder.method} cannot be traced: {error}{_at(place_of(error))}"
        raise MethodError(message, hint=USE_OPS) from error
    except MethodError as error:
        raise MethodError(f"{error}{_at(place_of(error))}", hint=error.hint) from error
    except EndedError as error:
        raise MethodError(f"{recorder.method} cannot be traced: {error}") from error
    output = _output(recorder, result, place)
    nodes, index = needed(recorder.nodes, output.index)
    return Graph(nodes, index, n_models, tuple(scalar_names))


def _at(place: str | None) -> str:
    return f" ({place})" if place else ""


def _output(recorder: Recorder, result: object, place: str) -> Symbol:
    if isinstance(result, (int, float)) and not isinstance(result, bool):
        return recorder.apply("constant", constants=[result])
    if not isinstance(result, Symbol) or result.recorder is not recorder:
        recorder.fail(f"returns {type(result).__name__}{_at(place)}", "return the merged tensor")
    if result.kind.boolean:
        recorder.fail(f"returns a boolean{_at(place)}", "return the merged tensor")
    return result
