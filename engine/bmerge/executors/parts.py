"""How a tensor is cut up so that computing it stays within a budget."""

from __future__ import annotations

from collections.abc import Iterator

from bmerge.errors import ExecutorError
from bmerge.executors.device import Device
from bmerge.executors.memory import staging, working_set
from bmerge.expr.window import Window
from bmerge.plan import MergeJob
from bmerge.records import dataclass

__all__ = ["JobCutter", "JobPart"]


@dataclass(frozen=True, slots=True)
class JobPart:
    """Consecutive elements of a job.

    Args:
        job: what they belong to.
        window: which they are.
    """

    job: MergeJob
    window: Window

    @property
    def is_last(self) -> bool:
        """Whether nothing of the job comes after it."""
        return self.window.begin + self.window.count == self.window.numel

    @property
    def working_set(self) -> int:
        """Bytes that are in use at the worst moment of its computation."""
        return working_set(self.job) * self.window.count // max(self.window.numel, 1)


class JobCutter:
    """Cuts jobs into parts.

    Args:
        device: where they are computed.
        memory: budget in bytes of main memory, for what is read and written.
        vram: budget in bytes of the device's own memory, or None for what is free.
    """

    def __init__(self, device: Device, memory: int, vram: int | None) -> None:
        self._preferred = device.part_elements
        self._ahead = device.ahead
        self._memory = memory
        self.budget = device.budget(memory, vram)

    def of(self, job: MergeJob) -> Iterator[JobPart]:
        """Yield the parts of a job, in order; an empty tensor has one, without elements.

        Raises:
            ExecutorError: if the job needs its whole tensor at once and has no room for it.
        """
        whole = Window.whole(job.shape, job.seed)
        fitting = self._fitting(job)
        if job.graph.has_reduction or job.wanted is not None:
            if whole.numel > fitting:
                raise _too_large(job, self.budget)
            yield JobPart(job, whole)
            return
        step = max(min(fitting // (1 + self._ahead), self._preferred), 1)
        for begin in range(0, max(whole.numel, 1), step):
            yield JobPart(job, whole.cut(begin, min(begin + step, whole.numel)))

    def _fitting(self, job: MergeJob) -> int:
        """Return how many elements of a job fit the budgets."""
        if not job.numel:
            return 0
        return min(
            self.budget // -(-working_set(job) // job.numel),
            self._memory // (staging(job, self._ahead) // job.numel),
        )


def _too_large(job: MergeJob, budget: int) -> ExecutorError:
    return ExecutorError(
        f"{job.key!r} must be in memory as a whole, which takes {working_set(job)} bytes; "
        f"the budget is {budget}",
        key=job.key,
        hint="raise --memory or --vram, or use --executor native, which streams",
    )
