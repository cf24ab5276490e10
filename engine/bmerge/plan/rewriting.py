"""What passes over a plan ask of its jobs, and make of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from bmerge.expr import IDENTITY
from bmerge.formats import Tensor
from bmerge.plan.jobs import CopyJob, Job, MergeJob, OutputTensor

__all__ = ["base_of", "is_kept", "merge_of", "placed"]


def base_of(job: Job) -> Tensor | None:
    """Return the first model's tensor of a job's output."""
    if isinstance(job, MergeJob):
        return job.base
    return job.source if isinstance(job, CopyJob) else None


def is_kept(job: Job, base: Tensor) -> bool:
    """Tell whether a job takes the first model's tensor as it is."""
    return isinstance(job, MergeJob) and job.graph == IDENTITY and job.used_inputs == (base,)


def merge_of(job: Job, output: OutputTensor) -> MergeJob:
    """Return a job that computes F32."""
    if isinstance(job, CopyJob):
        sources = (job.source,)
        return MergeJob(job.key, job.block, IDENTITY, sources, (), output.shape, "F32", 0)
    assert isinstance(job, MergeJob), job
    return replace(job, dtype="F32")


def placed(outputs: Iterable[OutputTensor]) -> Iterator[OutputTensor]:
    """Yield tensors with their places one after another."""
    offset = 0
    for output in outputs:
        yield replace(output, offset=offset)
        offset += output.nbytes
