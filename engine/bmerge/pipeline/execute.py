"""Running all jobs of a plan into a sink, those that executors do not know included.

What an executor takes are merges, copies and fills of tensors that it can read. So split jobs are
taken apart first, and jobs that read other tensors run after all else, some at a time, while these
lie in files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from bmerge.executors import ExecutionReport, Executor, ProgressCallback, Sink
from bmerge.pipeline.encoding import apart, encode_apart
from bmerge.pipeline.lowering import Lowering, Pass
from bmerge.pipeline.split import Woven, split
from bmerge.plan import Jobs, Plan

__all__ = ["LAST", "execute", "run"]


def execute(
    plan: Plan, sink: Sink, *, executor: Executor, progress: ProgressCallback | None = None
) -> ExecutionReport:
    """Write every output tensor of a plan that needs no passes but the last.

    Args:
        plan: what to do.
        sink: where the output goes.
        executor: runs the jobs.
        progress: called while it runs.

    Raises:
        ExecutorError: if it cannot be carried out.
    """
    with Lowering(executor, sink, progress) as work:
        for each in LAST:
            plan = each(plan, work)
        return run(plan, work)


def _split(plan: Plan, work: Lowering) -> Plan:
    plan, work.sink = split(plan, work.sink)
    return plan


def _patch(plan: Plan, work: Lowering) -> Plan:
    plan, work.encoded = apart(plan, work.executor)
    if plan.jobs.totals.stored:
        return plan
    from bmerge.pipeline.computed import groups_of  # as most read what is stored

    work.computed = list(groups_of(plan.merges, work.executor.reads))
    later = {job.key for group in work.computed for job in group}
    if not later:
        return plan
    return replace(plan, jobs=Jobs.of(job for job in plan.jobs if job.key not in later))


LAST: tuple[Pass, ...] = (_split, _patch)
"""The passes after which a plan can be run."""


def run(plan: Plan, work: Lowering) -> ExecutionReport:
    """Run a plan after all passes, and then what they have set apart.

    Raises:
        ExecutorError: if it cannot be carried out.
    """
    report = _sum(_reports(plan, work))
    if isinstance(work.sink, Woven):
        work.sink.finish()
    return report


def _reports(plan: Plan, work: Lowering) -> Iterator[ExecutionReport]:
    executor, sink = work.executor, work.sink
    if not (work.computed or work.encoded):
        yield executor.run(plan, sink, progress=work.progress)
        return
    from bmerge.pipeline.computed import Stages, computed

    parts = [plan, *(replace(plan, jobs=Jobs.of(group)) for group in work.computed)]
    progress = work.progress
    if work.computed:
        tensors = sum(len(part.jobs) for part in parts)
        stages = Stages(progress, [part.jobs.totals.nbytes_read for part in parts], tensors)
        progress = stages.next()
    yield executor.run(plan, sink, progress=progress)
    for part in parts[1:]:
        with computed(part.merges, executor.reads) as jobs:
            ready = replace(part, jobs=Jobs.of(jobs))
            yield executor.run(ready, sink, progress=stages.next())
    for job in work.encoded:
        with computed([job], executor.reads) as jobs:
            yield from encode_apart(jobs, plan, sink, executor)


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
            first.writing or other.writing,
            first.processor or other.processor,
        )
    return first
