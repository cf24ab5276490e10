"""Whether a value from a file fits the annotation of the option that it is given for.

Annotations are read as they are written; one that bmerge cannot make sense of (a class of the
plugin's own, a name that exists for type checkers only) allows any value.
"""

from __future__ import annotations

import collections.abc
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from bmerge.errors import ExecutorError
from bmerge.options.about import about, bare

__all__ = ["annotations_of", "problem"]

_PLAIN: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "null",
}
"""Type → what a value of it is called in messages."""

_KNOWN_NAMES = {
    name: getattr(module, name) for module in (typing, collections.abc) for name in module.__all__
}
"""What an annotation may name although its module imports it for type checkers only."""


def annotations_of(factory: Callable[..., object]) -> dict[str, Any]:
    """Return what each parameter of ``factory`` is annotated with, ``Any`` where that is unclear.

    What ``Annotated`` says beside a type is kept; see :class:`bmerge.options.About`.

    Args:
        factory: a class, a function, or any other callable.
    """
    made_by: Any = factory.__init__ if isinstance(factory, type) else factory  # type: ignore[misc]
    function = inspect.unwrap(made_by)
    function = getattr(function, "func", function)  # of a functools.partial
    scope = {**_KNOWN_NAMES, **getattr(function, "__globals__", {})}
    parameters = inspect.signature(factory).parameters.values()
    return {p.name: _resolved(p.annotation, scope) for p in parameters}


def _resolved(annotation: object, scope: dict[str, Any]) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, globalns=scope, include_extras=True)["it"]
    except Exception:  # noqa: BLE001  an annotation is code, and may fail in any way
        return Any


def problem(value: object, annotation: Any) -> str | None:
    """Say what ``value`` must be; None if it fits.

    Args:
        value: scalars, lists and dicts, as a study file holds them.
        annotation: from :func:`annotations_of`.

    Returns:
        What completes "the option must be …", as in ``a number, not text``. The value itself is
        told only where words to choose from are known: else it may be a password.
    """
    said, annotation = about(annotation), bare(annotation)
    if said.size and isinstance(value, str):
        return _no_size(value)
    if _fits(value, annotation):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        bounds = said.bounds(value) if is_number else None  # type: ignore[arg-type]
        return f"{bounds}, not {value}" if bounds else None
    wanted, kind = _wanted(annotation), _kind_of(value)
    if isinstance(value, str) and "one of" in wanted:
        return f"{wanted}, not {value!r}"
    return f"{wanted}, not {'such ' if kind in wanted else ''}{kind}"


def _no_size(text: str) -> str | None:
    from bmerge.sizes import parse_size  # few options are sizes

    try:
        parse_size(text)
    except ExecutorError:
        return f"a size such as 512M or 4G, not {text!r}"
    return None


def _fits(value: object, annotation: Any) -> bool:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        return any(_fits(value, one) for one in arguments)
    if origin is typing.Literal:
        return any(value == one and type(value) is type(one) for one in arguments)
    if annotation in _PLAIN:
        return _fits_plain(value, annotation)
    if isinstance(annotation, type) and issubclass(annotation, PurePath):
        return isinstance(value, str)
    return _fits_collection(value, origin or annotation, arguments)


def _fits_plain(value: object, wanted: type) -> bool:
    if wanted is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and not math.isnan(value)  # type: ignore[arg-type]
    return type(value) is wanted


def _fits_collection(value: object, origin: object, arguments: tuple[Any, ...]) -> bool:
    if not isinstance(origin, type):
        return True
    if issubclass(origin, collections.abc.Mapping):
        of = (*arguments, Any, Any)
        return isinstance(value, Mapping) and all(
            _fits(key, of[0]) and _fits(item, of[1]) for key, item in value.items()
        )
    if not issubclass(origin, collections.abc.Iterable):
        return True
    if not isinstance(value, (list, tuple)):
        return False
    if origin is tuple and arguments and Ellipsis not in arguments:
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    return all(_fits(item, arguments[0] if arguments else Any) for item in value)


def _wanted(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(_wanted(one) for one in arguments)
    if origin is typing.Literal:
        return "one of " + ", ".join(_word(one) for one in arguments)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin = origin or annotation
    if isinstance(origin, type) and issubclass(origin, PurePath):
        return "a path"
    if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
        return "a mapping" + _of(arguments[1:])
    return "a list" + _of(arguments)


def _of(arguments: tuple[Any, ...]) -> str:
    """Return what the items of a collection must be, where each is of one plain type."""
    return f" ({_PLAIN[arguments[0]]} each)" if arguments and arguments[0] in _PLAIN else ""


def _word(choice: object) -> str:
    return str(choice).lower() if isinstance(choice, bool) or choice is None else repr(choice)


def _kind_of(value: object) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return _PLAIN.get(type(value), f"a {type(value).__name__}")
