"""Where and with how much memory merges run, as somebody asked for it.

What is asked for on the command line or in Python goes before what a study file says, and that
before the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bmerge.executors import Choice, Executor, choose_executor
from bmerge.plan import Plan
from bmerge.sizes import parse_size

if TYPE_CHECKING:
    from bmerge.study.config import ExecutorConfig

__all__ = ["ExecutorOptions"]


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """What was asked for; None where nothing was.

    Args:
        executor: ``auto``, ``native`` or ``torch``.
        device: torch device.
        memory: budget in bytes.
        vram: budget in bytes.
        threads: of the native executor.
        io: how the native executor reads.
    """

    executor: str | None = None
    device: str | None = None
    memory: int | None = None
    vram: int | None = None
    threads: int | None = None
    io: str | None = None

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

    def executor_of(self, plan: Plan) -> Executor:
        """Return the executor of ``plan``; see :meth:`choose`."""
        return self.choose(plan).executor

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
