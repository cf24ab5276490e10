"""The options that say where and with how much memory merges run; ``merge`` and ``run`` share them.

An option goes before what a study file says, and that before the default.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

from bmerge.errors import ExecutorError
from bmerge.host.executor_options import ExecutorOptions
from bmerge.sizes import parse_size

__all__ = ["executor_options", "size_option"]

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

    @wraps(command)
    def gather(*arguments: Any, **options: Any) -> Any:
        names = ("executor", "device", "memory", "vram", "threads", "io")
        where = ExecutorOptions(**{name: options.pop(name) for name in names})
        return command(*arguments, where=where, **options)

    for option in (
        click.option(
            "--io",
            type=click.Choice(["auto", "read", "mmap"]),
            help="How the native executor reads: into buffers, or through memory maps.",
        ),
        click.option(
            "--threads",
            type=click.IntRange(1),
            metavar="N",
            help="CPU threads; default: all cores.",
        ),
        click.option(
            "--vram", type=size_option, metavar="SIZE", help="GPU memory to use; default: the free."
        ),
        click.option(
            "--memory", type=size_option, metavar="SIZE", help="Memory for buffers; default: 64M."
        ),
        click.option(
            "--device", metavar="NAME", help="cpu, cuda, cuda:1; default: a GPU if it helps."
        ),
        click.option(
            "--executor",
            type=click.Choice(["auto", "native", "torch"]),
            help="What computes the merge; default: auto, which says what it chose and why.",
        ),
    ):
        gather = option(gather)
    return cast("F", gather)
