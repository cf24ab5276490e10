"""Running all jobs of a plan into a sink, those that executors do not know included.

A split job merges some channels of a tensor. In a file they are not in one piece, so they are
made a tensor of their own of every input, merged as such, and woven together with the other
channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from bmerge.dtypes import SIZES
from bmerge.executors import ExecutionReport, Executor, ProgressCallback, Sink
from bmerge.expr import IDENTITY
from bmerge.formats import Tensor, elements_of
from bmerge.formats.composed import joined, reshaped
from bmerge.pipeline.patching import Stages, is_patched, materialised, patched_groups
from bmerge.pipeline.sinks import BufferSink
from bmerge.plan import MergeJob, Plan, SplitJob

__all__ = ["execute"]


def execute(
    plan: Plan, sink: Sink, *, executor: Executor, progress: ProgressCallback | None = None
) -> ExecutionReport:
    """Write every output tensor of a plan.

    Args:
        plan: what to do.
        sink: where the output goes.
        executor: runs the jobs.
        progress: called while it runs.

    Raises:
        ExecutorError: if it cannot be carried out.
    """
    groups = list(patched_groups(plan.merges))
    if groups:
        report = _run_patched(groups, plan, sink, executor, progress)
    else:
        report = executor.run(plan, sink, progress=progress)
    for split in plan.splits:
        report = _sum(report, _run_split(split, plan, sink, executor))
    return report


def _run_patched(
    groups: Sequence[Sequence[MergeJob]],
    plan: Plan,
    sink: Sink,
    executor: Executor,
    progress: ProgressCallback | None,
) -> ExecutionReport:
    """Run all else first, and then the jobs that read tensors with LoRAs on them."""
    plain = replace(plan, merges=tuple(job for job in plan.merges if not is_patched(job)))
    parts = [plain, *(replace(plan, merges=(*jobs,), copies=(), fills=()) for jobs in groups)]
    tensors = len(plan.merges) + len(plan.copies) + len(plan.fills)
    stages = Stages(progress, [part.nbytes_read for part in parts], tensors)
    report = executor.run(plain, sink, progress=stages.next())
    for part in parts[1:]:
        with materialised(part.merges) as jobs:
            ready = replace(part, merges=jobs)
            report = _sum(report, executor.run(ready, sink, progress=stages.next()))
    return report


def _sum(first: ExecutionReport, second: ExecutionReport) -> ExecutionReport:
    return ExecutionReport(
        first.executor,
        first.nonfinite + second.nonfinite,
        first.bytes_read + second.bytes_read,
        first.bytes_written + second.bytes_written,
        first.bytes_copied + second.bytes_copied,
        first.rounded + second.rounded,
    )


def _run_split(split: SplitJob, plan: Plan, sink: Sink, executor: Executor) -> ExecutionReport:
    shared, total = split.merge.shape[1], split.rest.shape[1]
    inputs = tuple(_channels(tensor, 0, shared) for tensor in split.merge.inputs)
    merge = replace(split.merge, inputs=inputs)
    keep = _keep(_channels(split.rest, shared, total), merge)
    with materialised((merge, keep)) as ready:
        jobs = replace(plan, merges=ready, copies=(), fills=(), splits=())
        parts = {job.key: bytearray(_nbytes(job)) for job in (merge, keep)}
        views = {key: memoryview(part) for key, part in parts.items()}
        report = executor.run(jobs, BufferSink(views))
    woven = _weave(parts[merge.key], parts["rest"], rows=merge.shape[0])
    sink.write(split.key, 0, woven)
    return report


def _keep(rest: Tensor, merge: MergeJob) -> MergeJob:
    """Return the job that keeps the values of the other channels."""
    return MergeJob("rest", merge.block, IDENTITY, (rest,), (), rest.shape, merge.dtype, merge.seed)


def _nbytes(job: MergeJob) -> int:
    return math.prod(job.shape) * SIZES[job.dtype]


def _channels(tensor: Tensor, first: int, last: int) -> Tensor:
    """Return channels ``first`` up to ``last`` of a tensor as one."""
    shape = (1, last - first, *tensor.shape[2:])
    count, row = math.prod(shape), math.prod(tensor.shape[1:])
    begin = first * (count // (last - first))
    rows = (elements_of(tensor, begin + at * row, count) for at in range(tensor.shape[0]))
    return joined([reshaped(each, shape) for each in rows], tensor.key)


def _weave(left: Sequence[int], right: Sequence[int], *, rows: int) -> bytes:
    """Join row 0 of both, row 1 of both, and so on."""
    a, b = bytes(left), bytes(right)
    m, n = len(a) // rows, len(b) // rows
    return b"".join(a[i * m : (i + 1) * m] + b[i * n : (i + 1) * n] for i in range(rows))
