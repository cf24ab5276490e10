"""Where and with how much memory merges run: the options of executors, declared here alone.

The command line, study files, Python, JSON schemas and the tables of the documentation take them
from this class; what an executor does with one is the executor's.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Literal, TypeAlias, TypedDict

from bmerge.options import OptionGroup, option
from bmerge.records import dataclass

__all__ = ["ExecutorKeywords", "ExecutorName", "ExecutorOptions", "IoMode"]

ExecutorName: TypeAlias = Literal["auto", "native", "torch"]
IoMode: TypeAlias = Literal["auto", "read", "mmap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorOptions(OptionGroup):
    """What was asked for; None where nothing was.

    What is asked for on the command line or in Python goes before what a study file says, and
    that before the default.
    """

    executor: ExecutorName | None = option(
        None, "What computes the merge; default: auto, which says what it chose and why."
    )
    device: str | None = option(
        None, "cpu, cuda, cuda:1; default: a GPU if it helps.", placeholder="NAME"
    )
    memory: int | None = option(None, "Memory for buffers; default: 64M.", size=True, least=1)
    vram: int | None = option(None, "GPU memory to use; default: the free.", size=True, least=1)
    threads: int | None = option(None, "CPU threads; default: all cores.", least=1)
    io: IoMode | None = option(
        None, "How the native executor reads: into buffers, or through memory maps."
    )

    def or_else(self, other: ExecutorOptions) -> ExecutorOptions:
        """Return these options, with those of ``other`` where nothing was asked for."""
        return ExecutorOptions(
            **{
                field.name: mine if (mine := getattr(self, field.name)) is not None
                else getattr(other, field.name)
                for field in fields(self)
            }
        )  # fmt: skip


class ExecutorKeywords(TypedDict, total=False):
    """The same by name, as type checkers know the arguments of :meth:`bmerge.Study.run`."""

    executor: ExecutorName | None
    device: str | None
    memory: int | str | None
    vram: int | str | None
    threads: int | None
    io: IoMode | None
