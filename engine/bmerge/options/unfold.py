"""From a function that takes groups of options to one that takes the options themselves."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter
from typing import Any, ParamSpec, TypeVar, cast

from bmerge.options.about import about
from bmerge.options.fitting import annotations_of
from bmerge.options.group import OptionGroup

__all__ = ["unfolded"]

P = ParamSpec("P")
T = TypeVar("T")


def unfolded(function: Callable[P, T]) -> Callable[P, T]:
    """Let each option of a group be given by its own name.

    A keyword-only parameter that is annotated with an :class:`OptionGroup` becomes as many as
    the group has fields, in its signature and its docstring; its default, a group, gives theirs.
    The group as a whole may still be given under the parameter's name.

    Args:
        function: a function, or a class's ``__init__``.
    """
    signature = inspect.signature(function)
    hints = annotations_of(function)
    groups = {
        name: p.default
        for name, p in signature.parameters.items()
        if isinstance(p.default, OptionGroup)
    }

    @functools.wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> T:
        for name, default in groups.items():
            own = {key: given.pop(key) for key in default.annotations() if key in given}
            group = given.get(name, default)
            given[name] = dataclasses.replace(cast("OptionGroup", group), **own) if own else group
        return function(*args, **given)

    parameters = _parameters(signature, groups, hints)
    call.__signature__ = signature.replace(parameters=list(parameters))  # type: ignore[attr-defined]
    call.__doc__ = _documented(function.__doc__, groups)
    return call


def _parameters(
    signature: inspect.Signature, groups: Mapping[str, OptionGroup], hints: Mapping[str, Any]
) -> Iterator[Parameter]:
    for name, parameter in signature.parameters.items():
        if name not in groups:
            known = hints.get(name, Any)
            annotation = parameter.annotation if known is Any else known
            yield parameter.replace(annotation=annotation)
            continue
        for option, annotation in groups[name].annotations().items():
            default = getattr(groups[name], option)
            yield Parameter(option, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _documented(doc: str | None, groups: Mapping[str, OptionGroup]) -> str | None:
    """Put what is said of each option in the place of what is said of its group."""
    for name, group in groups.items():
        line = re.compile(rf"^( +){name}: .*\n(?:\1 +\S.*\n)*", re.MULTILINE)
        if doc and (found := line.search(doc)):
            doc = doc[: found.start()] + _lines(group, found[1]) + doc[found.end() :]
    return doc


def _lines(group: OptionGroup, indent: str) -> str:
    return "".join(
        textwrap.fill(
            f"{name}: {_sentence(about(annotation).help)}",
            width=100,
            initial_indent=indent,
            subsequent_indent=f"{indent}    ",
            break_on_hyphens=False,
        )
        + "\n"
        for name, annotation in group.annotations().items()
    )


def _sentence(text: str) -> str:
    return text if text.endswith((".", "…", "?")) else f"{text}."
