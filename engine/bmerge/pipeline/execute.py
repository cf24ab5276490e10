"""Running all jobs of a plan into a sink, those that executors do not know included.

A split job merges some channels of a tensor. In a file they are not in one piece, so they are
cut out of every input into a small temporary file, merged as a tensor of their own, and woven
together with the other channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bmerge.dtypes import SIZES
from bmerge.executors import ExecutionReport, Executor, ProgressCallback, Sink
from bmerge.expr import Graph, Node
from bmerge.formats import TensorInfo
from bmerge.pipeline.sinks import BufferSink
from bmerge.plan import MergeJob, Plan, SplitJob

__all__ = ["execute"]

_IDENTITY = Graph((Node("input", (), (0,)),), 0, 1, ())


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
    report = executor.run(plan, sink, progress=progress)
    for split in plan.splits:
        small = _run_split(split, plan, sink, executor)
        report = ExecutionReport(
            report.executor,
            report.nonfinite + small.nonfinite,
            report.bytes_read + small.bytes_read,
            report.bytes_written + small.bytes_written,
            report.bytes_copied + small.bytes_copied,
        )
    return report


def _run_split(split: SplitJob, plan: Plan, sink: Sink, executor: Executor) -> ExecutionReport:
    import tempfile  # it takes long to import, and this is not often needed

    shared, total = split.merge.shape[1], split.rest.shape[1]
    with tempfile.TemporaryDirectory(prefix="bmerge-split-") as folder:
        cut = [
            _cut(info, 0, shared, Path(folder) / f"{index}-{info.file.name}")
            for index, info in enumerate(split.merge.inputs)
        ]
        rest = _cut(split.rest, shared, total, Path(folder) / "rest")
        merge = replace(split.merge, inputs=tuple(cut))
        keep = MergeJob(
            "rest", merge.block, _IDENTITY, (rest,), (), rest.shape, merge.dtype, seed=0
        )
        jobs = replace(plan, merges=(merge, keep), copies=(), fills=(), splits=())
        parts = {job.key: bytearray(_nbytes(job)) for job in (merge, keep)}
        views = {key: memoryview(part) for key, part in parts.items()}
        report = executor.run(jobs, BufferSink(views))
    woven = _weave(parts[merge.key], parts["rest"], rows=merge.shape[0])
    sink.write(split.key, 0, woven)
    return report


def _nbytes(job: MergeJob) -> int:
    return math.prod(job.shape) * SIZES[job.dtype]


def _cut(info: TensorInfo, first: int, last: int, target: Path) -> TensorInfo:
    """Write channels ``first`` up to ``last`` of a tensor into a file of their own."""
    with info.file.open("rb") as file:
        file.seek(info.offset)
        data = file.read(info.nbytes)
    row = info.nbytes // info.shape[0]
    channel = row // info.shape[1]
    pieces = [
        data[begin + first * channel : begin + last * channel]
        for begin in range(0, info.nbytes, row)
    ]
    target.write_bytes(b"".join(pieces))
    shape = (info.shape[0], last - first, *info.shape[2:])
    return TensorInfo(info.key, info.dtype, shape, target, 0, target.stat().st_size)


def _weave(left: Sequence[int], right: Sequence[int], *, rows: int) -> bytes:
    """Join row 0 of both, row 1 of both, and so on."""
    a, b = bytes(left), bytes(right)
    m, n = len(a) // rows, len(b) // rows
    return b"".join(a[i * m : (i + 1) * m] + b[i * n : (i + 1) * n] for i in range(rows))
