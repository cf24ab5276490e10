"""Groups of options as options of a command: names, types, ranges and help are the group's."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

from bmerge.errors import ExecutorError
from bmerge.executors import ExecutorOptions
from bmerge.options.about import about, bare
from bmerge.sizes import parse_size

__all__ = ["executor_options", "size_option", "some_executor_options"]

F = TypeVar("F", bound=Callable[..., Any])


def size_option(text: str) -> int:
    """Return a number of bytes; see :func:`bmerge.sizes.parse_size`.

    Raises:
        BadParameter: if it is not a size.
    """
    try:
        return parse_size(text)
    except ExecutorError as error:
        raise click.BadParameter(str(error)) from error


def executor_options(command: F) -> F:
    """Give a command the options of an executor, as its argument ``where``."""
    return some_executor_options(*ExecutorOptions.annotations())(command)


def some_executor_options(*names: str) -> Callable[[F], F]:
    """Give a command some of the options of an executor, as its argument ``where``."""

    def decorate(command: F) -> F:
        @wraps(command)
        def gather(*arguments: Any, **options: Any) -> Any:
            where = ExecutorOptions(**{name: options.pop(name) for name in names})
            return command(*arguments, where=where, **options)

        for name in reversed(names):
            gather = _option(name, ExecutorOptions.annotations()[name])(gather)
        return cast("F", gather)

    return decorate


def _option(name: str, annotation: Any) -> Callable[[F], F]:
    """Return a decorator that adds an option of a group to a command."""
    said = about(annotation)
    kind, placeholder = _kind_of(annotation)
    return click.option(f"--{name}", type=kind, metavar=placeholder, help=said.help)


def _kind_of(annotation: Any) -> tuple[Any, str | None]:
    """Return click's type of an option, and what stands for its value in the help."""
    said, inner = about(annotation), bare(annotation)
    if isinstance(inner, types.UnionType) or typing.get_origin(inner) is typing.Union:
        (inner,) = (one for one in typing.get_args(inner) if one is not type(None))
    if said.size:
        return size_option, said.placeholder or "SIZE"
    if typing.get_origin(inner) is typing.Literal:
        return click.Choice(list(typing.get_args(inner))), said.placeholder
    if inner is int:
        least = None if said.least is None else int(said.least)
        return click.IntRange(least), said.placeholder or "N"
    return inner, said.placeholder
