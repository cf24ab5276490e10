"""``@merge_method``: makes a merge method of a function by reading its signature."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, overload

from bmerge.errors import MethodError
from bmerge.method.hyperparameter import Hyperparameter, Range
from bmerge.method.merge_method import MergeMethod

__all__ = ["merge_method"]


@overload
def merge_method(function: Callable[..., Any], /) -> MergeMethod: ...
@overload
def merge_method(
    *, name: str | None = None, aliases: tuple[str, ...] = ()
) -> Callable[[Callable[..., Any]], MergeMethod]: ...
def merge_method(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    aliases: tuple[str, ...] = (),
) -> MergeMethod | Callable[[Callable[..., Any]], MergeMethod]:
    """Make a merge method of a function; a decorator, with or without arguments.

    Args:
        function: positional parameters are input models (``*models``: any number), keyword-only
            ones are hyperparameters, annotated :data:`Weight` or ``Annotated[float, Range(…)]``,
            with a default. The body is made of operators and :mod:`bmerge.ops`.
        name: the method's name; the function's own if left out.
        aliases: other names for it.

    Raises:
        MethodError: if the signature is none of a merge method.
    """

    def decorate(body: Callable[..., Any]) -> MergeMethod:
        return _declare(body, name or body.__name__, tuple(aliases))

    return decorate if function is None else decorate(function)


def _declare(function: Callable[..., Any], name: str, aliases: tuple[str, ...]) -> MergeMethod:
    parameters = inspect.signature(function).parameters.values()
    for parameter in parameters:
        _check_shape(name, parameter)
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    models = tuple(p.name for p in parameters if p.kind in _POSITIONAL)
    if not models and not variadic:
        raise MethodError(f"{name} takes no model", hint="its positional parameters are models")
    doc = inspect.getdoc(function) or ""
    return MergeMethod(
        name=name,
        aliases=aliases,
        function=function,
        model_names=models,
        variadic=variadic,
        hyperparameters=tuple(
            _hyperparameter(function, name, p) for p in parameters if p.kind is p.KEYWORD_ONLY
        ),
        summary=doc.partition("\n")[0],
        doc=doc,
    )


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _check_shape(name: str, parameter: inspect.Parameter) -> None:
    if parameter.kind is parameter.VAR_KEYWORD:
        message = f"{name} takes **{parameter.name}"
        raise MethodError(message, hint="name each hyperparameter, after a *")
    has_default = parameter.default is not parameter.empty
    if parameter.kind in _POSITIONAL and has_default:
        message = f"{name}: the model {parameter.name!r} has a default"
        raise MethodError(message, hint="hyperparameters come after a * in the signature")


def _hyperparameter(
    function: Callable[..., Any], name: str, parameter: inspect.Parameter
) -> Hyperparameter:
    where = f"{name}: the hyperparameter {parameter.name!r}"
    default = parameter.default
    if isinstance(default, bool) or not isinstance(default, (int, float)):
        raise MethodError(f"{where} has no number as its default", hint="for example = 0.5")
    span = _range(function, where, parameter)
    if not span.low < span.high:
        raise MethodError(f"{where} is searched from {span.low} to {span.high}")
    limits = (None if limit is None else float(limit) for limit in (span.minimum, span.maximum))
    result = Hyperparameter(
        parameter.name, float(default), float(span.low), float(span.high), *limits
    )
    for value in (result.default, result.low, result.high):
        problem = result.problem(value)
        if problem:
            raise MethodError(f"{where} has a value out of its own bounds: {problem}")
    return result


def _range(function: Callable[..., Any], where: str, parameter: inspect.Parameter) -> Range:
    """Find the :class:`Range` in a parameter's annotation."""
    # One annotation at a time: those of models may name types that are not imported.
    holder = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        hints = typing.get_type_hints(holder, function.__globals__, include_extras=True)
    except (NameError, TypeError):
        hints = {}
    metadata = getattr(hints.get(parameter.name), "__metadata__", ())
    spans = [item for item in metadata if isinstance(item, Range)]
    if len(spans) != 1:
        raise MethodError(
            f"{where} has {_shown(parameter.annotation)}",
            hint="annotate it with Weight or Annotated[float, Range(low, high)]",
        )
    return spans[0]


def _shown(annotation: object) -> str:
    if annotation is inspect.Parameter.empty:
        return "no annotation"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return f"the annotation {text}"
