"""Which results of a merge are looked at to tell how much of it is lost by rounding.

They are few, the same for every executor and any number of threads, and looked at while they are
written: nothing is read or computed a second time but what they are changes of, half a MB in all.
"""

from __future__ import annotations

from dataclasses import dataclass

from bmerge.dtypes import SIZES
from bmerge.executors.base import Rounded
from bmerge.formats import Tensor
from bmerge.plan import MergeJob, Plan

__all__ = ["Sample", "samples_of"]

_ELEMENTS = 1 << 18
_TENSORS = 256
_ROUNDED = 4
"""Bytes of the float32 that is computed: what is narrower is rounded."""


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

    def rounded(self, change: float, arrived: float, size: float) -> Rounded:
        """Return what sums over the sample tell of the whole tensor."""
        scale = self.job.numel / self.count
        return Rounded(self.job.key, self.job.dtype, change * scale, arrived * scale, size * scale)


def samples_of(plan: Plan) -> dict[int, Sample]:
    """Return the samples of some of a plan's merges, by their place in it.

    Rounding by chance loses nothing in the mean, so then there are none.
    """
    if plan.recipe.rounding != "nearest":
        return {}
    found = [
        (index, job, job.base)
        for index, job in enumerate(plan.merges)
        if job.base is not None and SIZES[job.dtype] < _ROUNDED and job.numel
    ]
    chosen = found[:: max(1, -(-len(found) // _TENSORS))]
    return {
        index: Sample(job, base, min(job.numel, _ELEMENTS // len(chosen)))
        for index, job, base in chosen
    }
