"""The passes before a merge: what a method needs to know of the models as wholes.

Each tensor is measured by a job like any other, of which only the first elements are wanted;
what they give is put into one small file, which further jobs fold into single numbers. So any
executor can do it, and the values join the hyperparameters of the merge's own jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bmerge.executors import Executor, Progress, ProgressCallback
from bmerge.expr import Graph
from bmerge.formats import TensorInfo
from bmerge.pipeline.execute import execute
from bmerge.pipeline.sinks import BufferSink
from bmerge.plan import Job, Jobs, Measure, MergeJob, OutputTensor, Plan, SplitJob
from bmerge.temporaries import temporary_folder, writing_within

__all__ = ["Statistics"]


class Statistics:
    """Measures once; the statistics of the same inputs do not depend on hyperparameters.

    Args:
        executor: runs the passes.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._values: dict[str, float] | None = None

    def fill(self, plan: Plan, progress: ProgressCallback | None = None) -> Plan:
        """Return a plan that can be executed: its jobs know the statistics.

        Args:
            plan: of the same inputs, method and options each time.
            progress: called while tensors are measured.

        Raises:
            ExecutorError: if they cannot be.
        """
        if not plan.measures:
            return plan
        if self._values is None:
            values: dict[str, float] = {}
            for measure in plan.measures:
                values |= _measured(measure, plan, self._executor, progress)
            self._values = values
        return _filled(plan, self._values)


def _measured(
    measure: Measure, plan: Plan, executor: Executor, progress: ProgressCallback | None
) -> dict[str, float]:
    def report(at: Progress) -> None:
        if progress is not None:
            progress(Progress(at.bytes_done, at.bytes_total, 0, len(plan.outputs)))

    values = b"".join(_run(plan, measure.jobs, executor, report))
    count = len(values) // 4
    if not count:
        return dict.fromkeys((name for name, _ in measure.folds), 0.0)
    with temporary_folder("measure") as folder:
        file = folder / "values"
        with writing_within(folder):
            file.write_bytes(values)
        info = TensorInfo("values", "F32", (count,), file, 0, len(values))
        jobs = [_fold(name, graph, info) for name, graph in measure.folds]
        folded = _run(plan, jobs, executor, None)
    return {job.key: memoryview(data).cast("f")[0] for job, data in zip(jobs, folded, strict=True)}


def _fold(name: str, graph: Graph, info: TensorInfo) -> MergeJob:
    return MergeJob(name, "", graph, (info,), (), info.shape, "F32", seed=0, wanted=1)


def _run(
    plan: Plan, jobs: Sequence[MergeJob], executor: Executor, progress: ProgressCallback | None
) -> list[bytes]:
    """Run jobs of some elements each; return their outputs."""
    outputs = tuple(OutputTensor(job.key, job.dtype, (job.wanted or 0,)) for job in jobs)
    part = replace(plan, jobs=Jobs.of(jobs), outputs=outputs, measures=())
    buffers = {output.key: bytearray(output.nbytes) for output in outputs}
    sink = BufferSink({key: memoryview(buffer) for key, buffer in buffers.items()})
    execute(part, sink, executor=executor, progress=progress)
    return [bytes(buffer) for buffer in buffers.values()]


def _filled(plan: Plan, values: Mapping[str, float]) -> Plan:
    def fill(job: MergeJob) -> MergeJob:
        pairs = zip(job.graph.scalars, job.scalars, strict=True)
        return replace(job, scalars=tuple(values.get(name, value) for name, value in pairs))

    def filled(index: int) -> Job:
        job = plan.jobs[index]
        if isinstance(job, SplitJob):
            return replace(job, merge=fill(job.merge))
        return fill(job) if isinstance(job, MergeJob) else job

    return replace(plan, jobs=Jobs(len(plan.jobs), filled), measures=())
