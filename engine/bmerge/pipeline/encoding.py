"""Outputs that are stored as codes with scales, for executors that compute floats.

The core encodes. What another executor computes goes through a file in float32, one tensor at a
time, which the core reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bmerge import _native
from bmerge.executors import ExecutionReport, Executor, NativeExecutor, Sink
from bmerge.expr import IDENTITY
from bmerge.formats import TensorInfo
from bmerge.pipeline.sinks import FileSink
from bmerge.plan import Jobs, MergeJob, Plan
from bmerge.temporaries import temporary_folder

__all__ = ["apart", "encode_apart"]


def apart(plan: Plan, executor: Executor) -> tuple[Plan, tuple[MergeJob, ...]]:
    """Return a plan without the jobs whose output the executor cannot encode, and these."""
    if isinstance(executor, NativeExecutor):
        return plan, ()
    found = tuple(job for job in plan.merges if job.encoding is not None)
    if not found:
        return plan, ()
    keys = {job.key for job in found}
    others = Jobs.of(job for job in plan.jobs if job.key not in keys)
    return replace(plan, jobs=others), found


def encode_apart(
    jobs: tuple[MergeJob, ...], plan: Plan, sink: Sink, executor: Executor
) -> Iterator[ExecutionReport]:
    """Run jobs one by one, and encode what they compute; yield what was done.

    Raises:
        ExecutorError: if one cannot be carried out.
    """
    native = NativeExecutor()
    for job in jobs:
        with temporary_folder("encode") as folder:
            file = folder / "values"
            out = _native.OutputFile(file, 4 * job.numel)
            floats = replace(job, dtype="F32", encoding=None)
            only_floats = replace(plan, jobs=Jobs.of([floats]))
            report = executor.run(only_floats, FileSink([out], {job.key: (0, 0)}))
            out.commit(sync=False)
            info = TensorInfo(job.key, "F32", job.shape, file, 0, 4 * job.numel)
            encoded = replace(job, graph=IDENTITY, inputs=(info,), scalars=())
            written = native.run(replace(plan, jobs=Jobs.of([encoded])), sink)
        yield replace(report, bytes_written=written.bytes_written)
