"""The options that say where and with how much memory merges run; ``merge`` and ``run`` share them.

An option goes before what a study file says, and that before the default.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from bmerge.executors import Choice, choose_executor
from bmerge.plan import Plan

if TYPE_CHECKING:
    from bmerge.study.config import ExecutorConfig

__all__ = ["ExecutorOptions", "executor_options", "parse_size"]

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_LARGEST = 2.0**63
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Return a number of bytes from ``512M``, ``4G``, ``1.5GiB`` or plain digits.

    Units are powers of 1024.

    Raises:
        BadParameter: if it is not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a size; write 512M or 4G")
    size = float(match[1]) * _UNITS[match[2].upper()]
    if size >= _LARGEST:
        raise click.BadParameter(f"{text[:20]!r} is more than there is")
    return int(size)


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """What was asked for on the command line; None where nothing was.

    Args:
        executor: ``auto``, ``native`` or ``torch``.
        device: torch device.
        memory: budget in bytes.
        vram: budget in bytes.
        threads: of the native executor.
        io: how the native executor reads.
    """

    executor: str | None
    device: str | None
    memory: int | None
    vram: int | None
    threads: int | None
    io: str | None

    def or_else(self, file: ExecutorConfig) -> ExecutorOptions:
        """Return these options with what a study file says where they say nothing."""
        return ExecutorOptions(
            self.executor or file.name,
            self.device or file.device,
            self.memory or _size(file.memory),
            self.vram or _size(file.vram),
            self.threads or file.threads,
            self.io or file.io,
        )

    def choose(self, plan: Plan) -> Choice:
        """Choose the executor of ``plan``.

        Raises:
            ExecutorError: if what was asked for is not possible.
        """
        return choose_executor(plan, **self.arguments())

    def arguments(self) -> dict[str, Any]:
        """Return what :func:`bmerge.executors.choose_executor` takes beside a plan."""
        return {
            "executor": self.executor or "auto",
            "device": self.device,
            "memory": self.memory,
            "vram": self.vram,
            "threads": self.threads or 0,
            "io": self.io or "auto",
        }


def _size(text: str | None) -> int | None:
    return None if text is None else parse_size(text)


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
            "--vram", type=parse_size, metavar="SIZE", help="GPU memory to use; default: the free."
        ),
        click.option(
            "--memory", type=parse_size, metavar="SIZE", help="Memory for buffers; default: 64M."
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
