"""``@merge_method`` and ``@tensor_method``: make a merge method of a function's signature."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias, overload

from bmerge.errors import MethodError
from bmerge.method.content import ContentKind
from bmerge.method.group import ParameterGroup
from bmerge.method.hyperparameter import EACH_MODEL, Hyperparameter, Range
from bmerge.method.method import MergeMethod
from bmerge.method.option import Option
from bmerge.method.statistic import Statistic
from bmerge.options.about import bare

__all__ = ["merge_method", "tensor_method"]

Body: TypeAlias = Callable[..., Any]


@overload
def merge_method(function: Body, /) -> MergeMethod: ...
@overload
def merge_method(
    *, name: str | None = None, aliases: tuple[str, ...] = ()
) -> Callable[[Body], MergeMethod]: ...
def merge_method(
    function: Body | None = None,
    /,
    *,
    name: str | None = None,
    aliases: tuple[str, ...] = (),
) -> MergeMethod | Callable[[Body], MergeMethod]:
    """Make a merge method of a function; a decorator, with or without arguments.

    Args:
        function: positional parameters are input models (``*models``: any number), keyword-only
            ones have a default and are hyperparameters, annotated :data:`Weight`,
            ``Annotated[float, Range(…)]`` or ``PerModel[…]`` of these, or options, annotated
            ``Literal[…]`` or ``bool``. One whose default is a :class:`bmerge.ParameterGroup`
            stands for all of the group's fields. One annotated
            ``Annotated[float, Statistic(…)]`` has no default: it is taken of the models. The body
            is made of operators and :mod:`bmerge.ops`.
        name: the method's name; the function's own if left out.
        aliases: other names for it.

    Raises:
        MethodError: if the signature is none of a merge method.
    """

    def decorate(body: Body) -> MergeMethod:
        return _declare(body, name or body.__name__, tuple(aliases), opaque=False)

    return decorate if function is None else decorate(function)


@overload
def tensor_method(function: Body, /) -> MergeMethod: ...
@overload
def tensor_method(
    *, name: str | None = None, aliases: tuple[str, ...] = (), needs: tuple[str, ...] = ()
) -> Callable[[Body], MergeMethod]: ...
def tensor_method(
    function: Body | None = None,
    /,
    *,
    name: str | None = None,
    aliases: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
) -> MergeMethod | Callable[[Body], MergeMethod]:
    """Make a merge method of a function that needs whole tensors: sorting, Fourier, SVD.

    As :func:`merge_method`, but the body is called with float32 torch tensors of one dimension
    or more, one key at a time, and with numbers as hyperparameters; it may use all of torch and
    returns a tensor of the same shape. Only the torch executor runs it.

    Args:
        function: see :func:`merge_method`.
        name: the method's name; the function's own if left out.
        aliases: other names for it.
        needs: top-level modules besides torch that the body imports, such as ``scipy``.

    Raises:
        MethodError: if the signature is none of a merge method.
    """

    def decorate(body: Body) -> MergeMethod:
        method = _declare(body, name or body.__name__, tuple(aliases), opaque=True)
        return replace(method, needs=("torch", *needs))

    return decorate if function is None else decorate(function)


def _declare(function: Body, name: str, aliases: tuple[str, ...], *, opaque: bool) -> MergeMethod:
    body = function
    if _has_groups(function):
        from bmerge.options import unfolded  # few methods have any

        body = unfolded(function)
    signature = inspect.signature(body)
    parameters = signature.parameters.values()
    for parameter in parameters:
        _check_shape(name, parameter)
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    models = tuple(p.name for p in parameters if p.kind in _POSITIONAL)
    takes = [_content(function, p.name, p.annotation) for p in parameters if p.kind in _MODELS]
    if not models and not variadic:
        raise MethodError(f"{name} takes no model", hint="its positional parameters are models")
    keywords = [_keyword(function, name, p) for p in parameters if p.kind is p.KEYWORD_ONLY]
    doc = inspect.getdoc(body) or ""
    return MergeMethod(
        name=name,
        aliases=aliases,
        function=body,
        model_names=models,
        variadic=variadic,
        hyperparameters=tuple(k for k in keywords if isinstance(k, Hyperparameter)),
        summary=doc.partition("\n")[0],
        doc=doc,
        options=tuple(k for k in keywords if isinstance(k, Option)),
        opaque=opaque,
        takes=tuple(takes),
        gives=_content(function, "return", signature.return_annotation),
        statistics=tuple(k for k in keywords if isinstance(k, Statistic)),
    )


def _has_groups(function: Body) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(isinstance(p.default, ParameterGroup) for p in parameters)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_MODELS = (*_POSITIONAL, inspect.Parameter.VAR_POSITIONAL)


def _check_shape(name: str, parameter: inspect.Parameter) -> None:
    if parameter.kind is parameter.VAR_KEYWORD:
        message = f"{name} takes **{parameter.name}"
        raise MethodError(message, hint="name each hyperparameter, after a *")
    has_default = parameter.default is not parameter.empty
    if parameter.kind in _POSITIONAL and has_default:
        message = f"{name}: the model {parameter.name!r} has a default"
        raise MethodError(message, hint="hyperparameters come after a * in the signature")


def _keyword(
    function: Body, name: str, parameter: inspect.Parameter
) -> Hyperparameter | Option | Statistic:
    where = f"{name}: the hyperparameter {parameter.name!r}"
    hint = _hint(function, parameter.name, parameter.annotation)
    if bare(hint) is bool or typing.get_origin(bare(hint)) is Literal:
        return _option(where, bare(hint), parameter)
    for item in _metadata(hint):
        if isinstance(item, Statistic):
            return replace(item, name=parameter.name)
    return _hyperparameter(where, hint, parameter)


def _option(where: str, hint: Any, parameter: inspect.Parameter) -> Option:
    choices = (True, False) if hint is bool else typing.get_args(hint)
    option = Option(parameter.name, parameter.default, choices)
    problem = option.problem(parameter.default)
    if parameter.default is parameter.empty or problem:
        raise MethodError(f"{where} has no default among its choices")
    return option


def _hyperparameter(where: str, hint: Any, parameter: inspect.Parameter) -> Hyperparameter:
    default = parameter.default
    if isinstance(default, bool) or not isinstance(default, (int, float)):
        raise MethodError(f"{where} has no number as its default", hint="for example = 0.5")
    span = _range(where, hint, parameter)
    if not span.low < span.high:
        raise MethodError(f"{where} is searched from {span.low} to {span.high}")
    result = Hyperparameter(
        parameter.name,
        float(default),
        float(span.low),
        float(span.high),
        minimum=None if span.minimum is None else float(span.minimum),
        maximum=None if span.maximum is None else float(span.maximum),
        per_model=EACH_MODEL in _metadata(hint),
    )
    for value in (result.default, result.low, result.high):
        problem = result.problem(value)
        if problem:
            raise MethodError(f"{where} has a value out of its own bounds: {problem}")
    return result


def _range(where: str, hint: Any, parameter: inspect.Parameter) -> Range:
    """Find the :class:`Range` in a parameter's annotation."""
    spans = [item for item in _metadata(hint) if isinstance(item, Range)]
    if len(spans) != 1:
        raise MethodError(
            f"{where} has {_shown(parameter.annotation)}",
            hint="annotate it with Weight or Annotated[float, Range(low, high)]",
        )
    return spans[0]


def _metadata(hint: Any) -> tuple[Any, ...]:
    metadata: tuple[Any, ...] = getattr(hint, "__metadata__", ())
    return metadata


def _content(function: Body, name: str, annotation: Any) -> ContentKind:
    """Say what a model's parameter or the result is."""
    marks = _metadata(_hint(function, name, annotation))
    return next((mark for mark in marks if isinstance(mark, ContentKind)), ContentKind.MODEL)


def _hint(function: Body, name: str, annotation: Any) -> Any:
    """Return an annotation, evaluated; None if it cannot be."""
    # One annotation at a time: those of models may name types that are not imported.
    holder = SimpleNamespace(__annotations__={name: annotation})
    try:
        hints = typing.get_type_hints(holder, function.__globals__, include_extras=True)
    except (NameError, TypeError):
        return None
    return hints.get(name)


def _shown(annotation: object) -> str:
    if annotation is inspect.Parameter.empty:
        return "no annotation"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return f"the annotation {text}"
