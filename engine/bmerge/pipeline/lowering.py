"""What the passes of a merge are told beside its plan, and what they leave to whoever runs it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bmerge.executors import Executor, ProgressCallback, Sink
from bmerge.plan import MergeJob, Plan
from bmerge.records import dataclass

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Aligning", "Filling", "Lowering", "Pass"]

Aligning = Callable[[int, int], None]
"""Called with the number of a sweep and how many sets of channels it has gone through."""

Filling: TypeAlias = Callable[[Plan, "ProgressCallback | None"], Plan]
"""Takes a plan and returns one that can be executed: its jobs know the statistics of the models."""


@dataclass(slots=True)
class Lowering:
    """A context manager, which removes the passes' temporary files.

    Args:
        executor: runs the plan, and what a pass has to compute before.
        sink: where the output goes; a pass may put one of its own before it.
        progress: called while it runs.
        fill: gives a plan the statistics of its models, if others of the same ones need them too.
        encode: makes codes of what the output has as such; None: nothing.
        folder: where aligned models lie; None: there is no place for them.
        aligning: called while models are aligned.
        files: temporary files.
        encoded: jobs whose output the executor cannot encode, which are run one by one.
        computed: jobs of tensors that it cannot read, which are run group by group.
    """

    executor: Executor
    sink: Sink
    progress: ProgressCallback | None = None
    fill: Filling | None = None
    encode: Callable[[Plan], Plan] | None = None
    folder: Path | None = None
    aligning: Aligning | None = None
    files: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    encoded: Sequence[MergeJob] = ()
    computed: Sequence[Sequence[MergeJob]] = ()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the files."""
        self.files.close()


Pass: TypeAlias = Callable[[Plan, Lowering], Plan]
"""Returns a plan that is nearer to what the executor runs."""
