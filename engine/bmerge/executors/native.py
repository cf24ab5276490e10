"""The native executor: a plan's jobs handed to the Rust core in one call.

The core streams files through a few buffers per thread and may use any number of threads. Here
its arguments are built, it runs in a thread of its own, and the calling thread reports progress
and passes on interrupts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bmerge import _native
from bmerge.errors import ExecutorError
from bmerge.executors.base import (
    ExecutionReport,
    NonFinite,
    Progress,
    ProgressCallback,
    Sink,
    nonfinite_error,
)
from bmerge.executors.sampling import Sample, samples_of
from bmerge.expr import Graph
from bmerge.formats import native_input, runs_of
from bmerge.plan import MergeJob, Plan

__all__ = ["IoMode", "NativeExecutor", "program_of"]

IoMode: TypeAlias = Literal["auto", "read", "mmap"]

_INTERVAL = 0.1
"""Seconds between two calls of the progress callback."""
_MEMORY = 64 << 20


@dataclass(frozen=True, slots=True)
class NativeExecutor:
    """Runs plans in Rust, streaming from file to file.

    Files that are merged into live tensors stay mapped for the next merge, as long as the executor
    lives.

    Args:
        memory: budget in bytes for all buffers together, and for files that stay mapped. None
            takes 64 MB for buffers, and lets files stay that half of the available memory holds.
        threads: number of worker threads; 0 takes one per core.
        io: how inputs are read: ``read`` into buffers, ``mmap`` where they lie in the page cache,
            ``auto`` as is faster: ``mmap`` into live tensors, else ``read``.
    """

    memory: int | None = None
    threads: int = 0
    io: IoMode = "auto"
    _maps: _native.Maps = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep no maps yet."""
        object.__setattr__(self, "_maps", _native.Maps(self.memory))

    @property
    def name(self) -> str:
        """``native``."""
        return "native"

    @property
    def buffers(self) -> int:
        """The budget in bytes for all buffers together."""
        return self.memory or _MEMORY

    def run(
        self, plan: Plan, sink: Sink, *, progress: ProgressCallback | None = None
    ) -> ExecutionReport:
        """Write every output tensor of ``plan``; see :class:`bmerge.executors.Executor`."""
        arguments = _Arguments(sink)
        for job in plan.merges:
            arguments.enter(job)
        copies = list(arguments.copies(plan))
        for fill in plan.fills:
            sink.write(fill.key, 0, fill.data)
        call = {
            "programs": arguments.programs,
            "sources": arguments.sources,
            "sinks": list(sink.targets),
            "jobs": map(arguments.job, plan.merges),
            "copies": copies,
            "threads": self.threads,
            "memory": self.buffers,
            "io": self.io,
            "on_nonfinite": plan.recipe.on_nonfinite,
            "maps": self._maps,
        }
        if plan.recipe.rounding != "nearest":
            call["rounding"] = plan.recipe.rounding
        wanted = [(i, job.wanted) for i, job in enumerate(plan.merges) if job.wanted is not None]
        if wanted:
            call["wanted"] = wanted
        samples = samples_of(plan)
        if samples:
            call["bases"] = [arguments.base(index, sample) for index, sample in samples.items()]
        try:
            report = _watched(call, plan, progress)
        except _native.NativeError as error:
            raise _translated(error, plan) from error
        return ExecutionReport(
            executor=self.name,
            nonfinite=tuple(
                NonFinite(plan.merges[job].key, None if index < 0 else index)
                for job, index in report.nonfinite
            ),
            bytes_read=report.bytes_read,
            bytes_written=report.bytes_written,
            bytes_copied=report.bytes_copied,
            rounded=tuple(samples[job].rounded(*sums) for job, *sums in report.rounded),
        )


def program_of(graph: Graph) -> _native.Program:
    """Return a graph as the core runs it.

    Raises:
        ExecutorError: if it calls functions of whole tensors, or is too long.
    """
    if graph.is_opaque:
        message = "a method of whole tensors cannot run on the native executor"
        raise ExecutorError(message, hint="use --executor torch, or auto")
    try:
        return _native.Program(graph.nodes, graph.output)
    except _native.ProgramError as error:  # hundreds of steps each with sums over tensors, say
        message = f"the native executor refuses this method: {error}"
        raise ExecutorError(message, hint="use --executor torch, or auto") from error


@dataclass(slots=True)
class _Arguments:
    """The tables that jobs refer to by index: programs and sources.

    Jobs are entered first, and then made one by one as the core takes them.
    """

    sink: Sink
    programs: list[_native.Program] = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)
    _program_index: dict[Graph, int] = field(default_factory=dict)
    _source_index: dict[Path, int] = field(default_factory=dict)

    def enter(self, job: MergeJob) -> None:
        program = self.programs[self._program(job.graph)]
        for info in job.inputs[: program.inputs]:
            for file in info.files:
                self._source(file)

    def job(self, job: MergeJob) -> Any:
        index = self._program(job.graph)
        program = self.programs[index]  # may not take the last ones: a method need not use them
        used = job.inputs[: program.inputs]
        inputs = [native_input(info, self._source) for info in used]
        scalars = job.scalars[: program.scalars]
        target, offset = self.sink.locate(job.key)
        return index, inputs, scalars, job.shape, target, offset, job.dtype, job.seed

    def base(self, job: int, sample: Sample) -> tuple[int, Any, int]:
        return job, native_input(sample.base, self._source), sample.count

    def copies(self, plan: Plan) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield ranges to copy; those that continue one another on both sides are one."""
        ranges = []
        for job in plan.copies:
            target, offset = self.sink.locate(job.key)
            for run in runs_of(job.source) or ():
                if run.nbytes:
                    ranges.append((target, offset, self._source(run.file), run))
                    offset += run.nbytes
        ranges.sort(key=lambda item: item[:2])
        pending: tuple[int, int, int, int, int] | None = None
        for target, offset, source, info in ranges:
            if pending is not None:
                source0, begin, length, target0, offset0 = pending
                ends = (source0, begin + length, target0, offset0 + length)
                if ends == (source, info.offset, target, offset):
                    pending = (source0, begin, length + info.nbytes, target0, offset0)
                    continue
                yield pending
            pending = (source, info.offset, info.nbytes, target, offset)
        if pending is not None:
            yield pending

    def _program(self, graph: Graph) -> int:
        if graph not in self._program_index:
            self._program_index[graph] = len(self.programs)
            self.programs.append(program_of(graph))
        return self._program_index[graph]

    def _source(self, file: Path) -> int:
        if file not in self._source_index:
            self._source_index[file] = len(self.sources)
            self.sources.append(file)
        return self._source_index[file]


def _watched(call: dict[str, Any], plan: Plan, progress: ProgressCallback | None) -> _native.Report:
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
            if progress is not None:
                progress(_snapshot(handle, plan))
    except BaseException:
        handle.cancel()
        done.wait()
        raise
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


def _snapshot(handle: _native.Progress, plan: Plan) -> Progress:
    done, total = handle.bytes_done, handle.bytes_total
    others = len(plan.copies) + len(plan.fills) if total and done == total else 0
    tensors = len(plan.merges) + len(plan.copies) + len(plan.fills)
    return Progress(done, total, handle.jobs_done + others, tensors)


def _translated(error: _native.NativeError, plan: Plan) -> ExecutorError:
    """Return bmerge's error for one of the core."""
    if isinstance(error, _native.NonFiniteError):
        return nonfinite_error(plan.merges[error.job], error.input if error.input >= 0 else None)
    if isinstance(error, _native.ProgramError):
        return ExecutorError(f"the native executor refuses this merge: {error}")
    return ExecutorError(str(error))
