"""Which results of a merge are looked at to tell how much of it is lost by rounding.

They are few, the same for every executor and any number of threads, and looked at while they are
written: nothing is read or computed a second time but what they are changes of, half a MB in all.
"""

from __future__ import annotations

from bmerge.executors.base import Rounded
from bmerge.formats import Tensor
from bmerge.plan import MergeJob, Plan
from bmerge.records import dataclass

__all__ = ["Sample", "Samples", "samples_of"]

_ELEMENTS = 1 << 18
_TENSORS = 256


@dataclass(frozen=True, slots=True)
class Sample:
    """Elements in the middle of a job's output.

    Args:
        job: it is one of these.
        base: what the output is a change of, in its shape.
        count: how many elements.
    """

    job: MergeJob
    base: Tensor
    count: int

    @property
    def range(self) -> tuple[int, int]:
        """The first element, and the one after the last."""
        begin = (self.job.numel - self.count) // 2
        return begin, begin + self.count

    def rounded(self, change: float, arrived: float, size: float, beyond: float) -> Rounded:
        """Return what sums over the sample tell of the whole tensor."""
        scale = self.job.numel / self.count
        sums = change * scale, arrived * scale, size * scale
        return Rounded(self.job.key, self.job.dtype, *sums, beyond / self.count)


class Samples:
    """Chooses the merges of a plan whose results are looked at; asked for each, in their order.

    Rounding by chance loses nothing in the mean, so then there are none.
    """

    def __init__(self, plan: Plan) -> None:
        count = plan.jobs.totals.rounded if plan.recipe.rounding == "nearest" else 0
        self._every = max(1, -(-count // _TENSORS))
        self._elements = _ELEMENTS // max(1, -(-count // self._every))
        self._seen = 0
        self._any = count > 0

    def of(self, job: MergeJob) -> Sample | None:
        """Return the sample of the next job, if it has one."""
        if not (self._any and job.is_rounded):
            return None
        self._seen += 1
        if (self._seen - 1) % self._every or job.base is None:
            return None
        return Sample(job, job.base, min(job.numel, self._elements))


def samples_of(plan: Plan) -> dict[int, Sample]:
    """Return the samples of some of a plan's merges, by their place among these."""
    samples = Samples(plan)
    found = ((index, samples.of(job)) for index, job in enumerate(plan.merges))
    return {index: sample for index, sample in found if sample is not None}
