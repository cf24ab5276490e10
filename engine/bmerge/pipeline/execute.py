"""Running all jobs of a plan into a sink, those that executors do not know included.

What an executor takes are merges, copies and fills of tensors that it can read. So split jobs are
taken apart first, and jobs that read other tensors run after all else, some at a time, while these
lie in files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from bmerge.executors import ExecutionReport, Executor, ProgressCallback, Sink
from bmerge.pipeline.computed import Stages, computed, groups_of
from bmerge.pipeline.encoding import apart, encode_apart
from bmerge.pipeline.split import split
from bmerge.plan import Jobs, MergeJob, Plan

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
    plan, woven = split(plan, sink)
    plan, encoded = apart(plan, executor)
    groups = [] if plan.jobs.totals.stored else list(groups_of(plan.merges, executor.reads))
    if groups:
        report = _in_groups(groups, plan, woven, executor, progress)
    else:
        report = executor.run(plan, woven, progress=progress)
    if encoded:
        report = _sum([report, *_apart(encoded, plan, woven, executor)])
    woven.finish()
    return report


def _apart(
    jobs: Sequence[MergeJob], plan: Plan, sink: Sink, executor: Executor
) -> Iterator[ExecutionReport]:
    """Run jobs whose output the executor does not encode, and their inputs first."""
    for job in jobs:
        with computed([job], executor.reads) as ready:
            yield from encode_apart(ready, plan, sink, executor)


def _in_groups(
    groups: Sequence[Sequence[MergeJob]],
    plan: Plan,
    sink: Sink,
    executor: Executor,
    progress: ProgressCallback | None,
) -> ExecutionReport:
    """Run all else first, and then the jobs whose inputs are computed."""
    apart = {job.key for group in groups for job in group}
    others = (job for job in plan.jobs if job.key not in apart)
    parts = [replace(plan, jobs=Jobs.of(jobs)) for jobs in (others, *groups)]
    stages = Stages(progress, [part.jobs.totals.nbytes_read for part in parts], len(plan.jobs))
    reports = [executor.run(parts[0], sink, progress=stages.next())]
    for part in parts[1:]:
        with computed(part.merges, executor.reads) as jobs:
            ready = replace(part, jobs=Jobs.of(jobs))
            reports.append(executor.run(ready, sink, progress=stages.next()))
    return _sum(reports)


def _sum(reports: Iterable[ExecutionReport]) -> ExecutionReport:
    first, *others = reports
    for other in others:
        first = ExecutionReport(
            first.executor,
            first.nonfinite + other.nonfinite,
            first.bytes_read + other.bytes_read,
            first.bytes_written + other.bytes_written,
            first.bytes_copied + other.bytes_copied,
            first.rounded + other.rounded,
            first.reading or other.reading,
        )
    return first
