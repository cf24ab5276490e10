"""The native executor: a plan's jobs handed to the Rust core in one call.

The core streams files through a few buffers per thread and may use any number of threads. Here
its arguments are built, it runs in a thread of its own, and the calling thread reports progress
and passes on interrupts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from itertools import islice
from pathlib import Path
from typing import Any

from bmerge import _native
from bmerge.errors import ExecutorError
from bmerge.executors.base import (
    ExecutionReport,
    NonFinite,
    Processor,
    Progress,
    ProgressCallback,
    Reading,
    Sink,
    Writing,
    nonfinite_error,
)
from bmerge.executors.options import IoMode
from bmerge.executors.rows import BaseRow, CopyRow, JobRow
from bmerge.executors.sampling import Sample, Samples
from bmerge.expr import Graph
from bmerge.expr.filters import as_matrices, matrix_shape, reduces_over
from bmerge.expr.kinds import FILTERS
from bmerge.formats import Tensor, native_input, runs_of
from bmerge.lora.patched import is_patched
from bmerge.plan import CopyJob, Encoding, FillJob, Job, MergeJob, Plan
from bmerge.records import dataclass

__all__ = ["NativeExecutor", "program_of"]

_INTERVAL = 0.1
"""Seconds between two calls of the progress callback."""
_MEMORY = 64 << 20
_AT_ONCE = 1 << 13
"""Jobs that the core has at most."""


@dataclass(frozen=True, slots=True)
class NativeExecutor:
    """Runs plans in Rust, streaming from file to file.

    Files that are merged into live tensors stay mapped for the next merge, and norms and k-th
    values that were found in files stay known, as long as the executor lives.

    Args:
        memory: budget in bytes for all buffers together, and for files that stay mapped. None
            takes 64 MB for buffers, and lets files stay that half of the available memory holds.
        threads: number of worker threads; 0 takes one per core.
        io: how inputs are read: ``read`` into buffers, ``mmap`` where they lie in the page cache,
            ``auto`` as is faster: ``mmap`` into live tensors; into files the first units find out.
    """

    memory: int | None = None
    threads: int = 0
    io: IoMode = "auto"
    maps: _native.Maps = field(init=False, repr=False, compare=False)
    findings: _native.Findings = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep no maps and findings yet."""
        object.__setattr__(self, "maps", _native.Maps(self.memory))
        object.__setattr__(self, "findings", _native.Findings())

    @property
    def name(self) -> str:
        """``native``."""
        return "native"

    @property
    def buffers(self) -> int:
        """The budget in bytes for all buffers together."""
        return self.memory or _MEMORY

    def reads(self, tensor: Tensor) -> bool:
        """Tell whether no LoRA is on a tensor, or one that is added while it is read."""
        if not is_patched(tensor):
            return True
        from bmerge.lora.streamed import is_streamed

        return is_streamed(tensor)

    def run(
        self, plan: Plan, sink: Sink, *, progress: ProgressCallback | None = None
    ) -> ExecutionReport:
        """Write every output tensor of ``plan``; see :class:`bmerge.executors.Executor`."""
        run = _Run(self, plan, sink, progress)
        jobs = iter(plan.jobs)
        reports = [run.some(tuple(islice(jobs, _AT_ONCE)))]
        while some := tuple(islice(jobs, _AT_ONCE)):
            reports.append(run.some(some))
        return ExecutionReport(
            executor=self.name,
            nonfinite=tuple(found for report in reports for found in report.nonfinite),
            bytes_read=sum(report.bytes_read for report in reports),
            bytes_written=sum(report.bytes_written for report in reports),
            bytes_copied=sum(report.bytes_copied for report in reports),
            rounded=tuple(found for report in reports for found in report.rounded),
            reading=next((each.reading for each in reports if each.reading), None),
            writing=next((each.writing for each in reports if each.writing), None),
            processor=reports[0].processor,
        )


def program_of(graph: Graph) -> _native.Program:
    """Return a graph as the core runs it.

    Raises:
        ExecutorError: if it calls functions of whole tensors, is too long, or reduces over filters
            and over the last dim.
    """
    if graph.is_opaque:
        message = "a method of whole tensors cannot run on the native executor"
        raise ExecutorError(message, hint="use --executor torch, or auto")
    if reduces_over(graph, FILTERS) and reduces_over(graph, -1):
        message = "reductions over filters and over the last dim do not run natively in one merge"
        raise ExecutorError(message, hint="use --executor torch, or auto")
    try:
        return _native.Program(as_matrices(graph).nodes, graph.output)
    except _native.ProgramError as error:  # hundreds of steps each with sums over tensors, say
        message = f"the native executor refuses this method: {error}"
        raise ExecutorError(message, hint="use --executor torch, or auto") from error


class _Run:
    """One run of a plan, some jobs at a time: of a million, the core's own take much memory.

    Args:
        executor: whose settings hold.
        plan: whose jobs they are.
        sink: where the output goes.
        progress: called while it runs.
    """

    def __init__(
        self,
        executor: NativeExecutor,
        plan: Plan,
        sink: Sink,
        progress: ProgressCallback | None,
    ) -> None:
        self._executor, self._plan, self._sink = executor, plan, sink
        self._progress = progress
        self._samples = Samples(plan)
        self._programs: dict[Graph, _native.Program] = {}
        self._bytes_done = 0
        self._tensors_done = 0

    def some(self, jobs: Sequence[Job]) -> ExecutionReport:
        """Run some of the jobs, and return what was done."""
        arguments = _Arguments(self._sink, self._programs)
        merges = [job for job in jobs if isinstance(job, MergeJob)]
        for job in merges:
            arguments.enter(job)
        for fill in (job for job in jobs if isinstance(job, FillJob)):
            self._sink.write(fill.key, 0, fill.data)
        chosen = [(index, self._samples.of(job)) for index, job in enumerate(merges)]
        samples = {index: sample for index, sample in chosen if sample is not None}
        recipe, executor = self._plan.recipe, self._executor
        call = {
            "sinks": list(self._sink.targets),
            "copies": list(arguments.copies(job for job in jobs if isinstance(job, CopyJob))),
            "programs": arguments.programs,
            "sources": arguments.sources,
            "jobs": map(arguments.job, merges),
            "threads": executor.threads,
            "memory": executor.buffers,
            "io": executor.io,
            "on_nonfinite": recipe.on_nonfinite,
            "maps": executor.maps,
            "findings": executor.findings,
        }
        if recipe.rounding != "nearest":
            call["rounding"] = recipe.rounding
        wanted = [(index, job.wanted) for index, job in enumerate(merges) if job.wanted is not None]
        if wanted:
            call["wanted"] = wanted
        if samples:
            call["bases"] = [arguments.base(index, sample) for index, sample in samples.items()]
        try:
            report = self._watched(call, len(jobs), len(jobs) - len(merges))
        except _native.NativeError as error:
            raise _translated(error, merges) from error
        self._tensors_done += len(jobs)
        return ExecutionReport(
            executor.name,
            tuple(
                NonFinite(merges[job].key, None if index < 0 else index)
                for job, index in report.nonfinite
            ),
            report.bytes_read,
            report.bytes_written,
            report.bytes_copied,
            tuple(samples[job].rounded(*sums) for job, *sums in report.rounded),
            Reading(*report.reading) if report.reading else None,
            Writing(*report.writing) if report.writing else None,
            Processor(report.threads, report.vectors, executor.buffers),
        )

    def _watched(self, call: dict[str, Any], count: int, others: int) -> _native.Report:
        """Run the core in a thread; report progress from this one, and stop it if that raises."""
        handle = _native.Progress()
        outcome: list[_native.Report | BaseException] = []
        done = threading.Event()  # an interrupted Thread.join can take a running thread for ended

        def work() -> None:
            try:
                outcome.append(_native.merge(**call, progress=handle))
            except BaseException as error:  # noqa: BLE001  handed over to the calling thread
                outcome.append(error)
            finally:
                done.set()

        threading.Thread(target=work, name="bmerge-native", daemon=True).start()
        try:
            running = True
            while running:  # at least once, and once more when it has ended
                running = not done.wait(_INTERVAL)
                self._report(handle, count, others)
        except BaseException:
            handle.cancel()
            done.wait()
            raise
        result = outcome[0]
        if isinstance(result, BaseException):
            raise result
        self._bytes_done += handle.bytes_done
        return result

    def _report(self, handle: _native.Progress, count: int, others: int) -> None:
        if self._progress is None:
            return
        done, total, tensors = handle.bytes_done, handle.bytes_total, len(self._plan.jobs)
        ended = others if total and done == total else 0
        before = self._bytes_done
        if total and self._tensors_done + count < tensors:  # of what is to come, one pass is known
            total = max(total, self._plan.jobs.totals.nbytes_read - before)
        finished = self._tensors_done + handle.jobs_done + ended
        self._progress(Progress(before + done, before + total if total else 0, finished, tensors))


@dataclass(slots=True)
class _Arguments:
    """The tables that jobs refer to by index: programs and sources.

    Jobs are entered first, and then made one by one as the core takes them.
    """

    sink: Sink
    known: dict[Graph, _native.Program]
    programs: list[_native.Program] = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)
    _program_index: dict[Graph, int] = field(default_factory=dict)
    _source_index: dict[Path, int] = field(default_factory=dict)

    def enter(self, job: MergeJob) -> None:
        program = self.programs[self._program(job.graph)]
        for info in job.inputs[: program.inputs]:
            for file in _files_of(info):
                self._source(file)

    def job(self, job: MergeJob) -> JobRow:
        index = self._program(job.graph)
        program = self.programs[index]  # may not take the last ones: a method need not use them
        used = job.inputs[: program.inputs]
        inputs = list(map(self._input, used))
        scalars = job.scalars[: program.scalars]
        target, offset = self.sink.locate(job.key)
        kind = job.dtype if job.encoding is None else self._encoding(job.encoding)
        shape = matrix_shape(job.graph, job.shape)
        return JobRow(index, inputs, scalars, shape, target, offset, kind, job.seed)

    def _encoding(self, encoding: Encoding) -> tuple[str, Any, int, list[tuple[int, int]]]:
        places = [self.sink.locate(key) for key in encoding.companions]
        return encoding.codec.name, encoding.codec.parameters, encoding.rows, places

    def _input(self, tensor: Tensor) -> Any:
        if not is_patched(tensor):
            return native_input(tensor, self._source)
        from bmerge.lora.streamed import streamed_input

        return streamed_input(tensor, self._source)

    def base(self, job: int, sample: Sample) -> BaseRow:
        return BaseRow(job, self._input(sample.base), sample.count)

    def copies(self, jobs: Iterable[CopyJob]) -> Iterator[CopyRow]:
        """Yield ranges to copy; those that continue one another on both sides are one."""
        rows = []
        for job in jobs:
            sink, offset = self.sink.locate(job.key)
            for run in runs_of(job.source) or ():
                if run.nbytes:
                    source = self._source(run.file)
                    rows.append(CopyRow(source, run.offset, run.nbytes, sink, offset))
                    offset += run.nbytes
        rows.sort(key=lambda row: (row.sink, row.offset))
        pending: CopyRow | None = None
        for row in rows:
            joined = pending.then(row) if pending else None
            if pending and joined is None:
                yield pending
            pending = joined or row
        if pending is not None:
            yield pending

    def _program(self, graph: Graph) -> int:
        if graph not in self._program_index:
            if graph not in self.known:
                self.known[graph] = program_of(graph)
            self._program_index[graph] = len(self.programs)
            self.programs.append(self.known[graph])
        return self._program_index[graph]

    def _source(self, file: Path) -> int:
        if file not in self._source_index:
            self._source_index[file] = len(self.sources)
            self.sources.append(file)
        return self._source_index[file]


def _files_of(tensor: Tensor) -> Iterable[Path]:
    if not is_patched(tensor):
        return tensor.files
    from bmerge.lora.streamed import files_of

    return files_of(tensor)


def _translated(error: _native.NativeError, merges: Sequence[MergeJob]) -> ExecutorError:
    """Return bmerge's error for one of the core."""
    if isinstance(error, _native.NonFiniteError):
        return nonfinite_error(merges[error.job], error.input if error.input >= 0 else None)
    if isinstance(error, _native.ProgramError):
        return ExecutorError(f"the native executor refuses this merge: {error}")
    return ExecutorError(str(error))
