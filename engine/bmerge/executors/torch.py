"""The torch executor: the method's graph run on torch tensors, on a CPU or a GPU.

Part by part: read, convert to float32, compute, convert to the output's dtype, write. A GPU
begins with a part before the one before it is written. On a CPU the bytes are those of the native
executor, which also does the copies here.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import field, replace
from itertools import chain

import torch
from torch import Tensor

from bmerge import formats
from bmerge.dtypes import SIZES
from bmerge.errors import ExecutorError, MethodError
from bmerge.executors.base import (
    ExecutionReport,
    NonFinite,
    Progress,
    ProgressCallback,
    Rounded,
    Sink,
    nonfinite_error,
)
from bmerge.executors.codec import LARGEST, decode, encode
from bmerge.executors.device import Device, PendingTransfer, open_device
from bmerge.executors.native import NativeExecutor
from bmerge.executors.parts import JobCutter, JobPart
from bmerge.executors.reader import read_ahead, read_dtype
from bmerge.executors.sampling import Sample, samples_of
from bmerge.expr.evaluate import evaluate
from bmerge.lora.patched import is_patched
from bmerge.plan import CopyJob, FillJob, Jobs, MergeJob, Plan
from bmerge.records import dataclass

__all__ = ["TorchExecutor"]

_INTERVAL = 0.1
"""Seconds between two calls of the progress callback."""
_MEMORY = 64 << 20


@dataclass(frozen=True, slots=True)
class TorchExecutor:
    """Runs plans with torch.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        memory: budget in bytes of main memory for buffers, and for values on a CPU.
        vram: budget in bytes of GPU memory; None takes 80 % of what is free.
        open_device: makes the device of its name; replaced in tests.
    """

    device: str = "cpu"
    memory: int = _MEMORY
    vram: int | None = None
    open_device: Callable[[str], Device] = open_device

    @property
    def name(self) -> str:
        """``torch`` and the device."""
        return f"torch ({self.device})"

    def reads(self, tensor: formats.Tensor) -> bool:
        """Tell whether no LoRA is on a tensor."""
        return not is_patched(tensor)

    def run(
        self, plan: Plan, sink: Sink, *, progress: ProgressCallback | None = None
    ) -> ExecutionReport:
        """Write every output tensor of ``plan``; see :class:`bmerge.executors.Executor`."""
        device = self.open_device(self.device)
        parts = JobCutter(device, self.memory, self.vram)
        meter = _Meter(plan, progress)
        native = NativeExecutor(self.memory)
        merges = plan.merges
        others = (job for job in plan.jobs if not isinstance(job, MergeJob))
        copied = native.run(replace(plan, jobs=Jobs.of(others)), sink, progress=meter.of_copies)
        recipe = plan.recipe
        strict, by_chance = recipe.on_nonfinite == "error", recipe.rounding == "stochastic"
        samples = {sample.job.key: sample for sample in samples_of(plan).values()}
        run = _Run(
            device, parts.budget, sink, meter, strict=strict, by_chance=by_chance, samples=samples
        )
        try:
            everything = chain.from_iterable(map(parts.of, merges))
            with closing(read_ahead(everything, device.host_buffer)) as reading:
                for part, buffers in reading:
                    run.part(part, buffers)
            run.end()
        except torch.cuda.OutOfMemoryError as error:
            message = f"{self.device} has too little free memory"
            hint = "lower --vram, or use --executor native"
            raise ExecutorError(message, hint=hint) from error
        meter.report()
        return ExecutionReport(
            self.name,
            tuple(run.nonfinite),
            run.bytes_read,
            run.bytes_written,
            copied.bytes_copied,
            tuple(run.rounded()),
        )


@dataclass(frozen=True, slots=True)
class _Flight:
    """A part whose computation has been started."""

    part: JobPart
    inputs: tuple[int, ...]
    bytes_read: int
    finite: PendingTransfer
    data: PendingTransfer
    sums: PendingTransfer | None


@dataclass(slots=True)
class _Run:
    """Starts the computation of parts, writes them in the same order, and counts."""

    device: Device
    budget: int
    sink: Sink
    meter: _Meter
    strict: bool
    by_chance: bool
    samples: Mapping[str, Sample]
    nonfinite: list[NonFinite] = field(default_factory=list)
    bytes_read: int = 0
    bytes_written: int = 0
    _sums: dict[str, list[float]] = field(default_factory=dict)
    _bad_inputs: set[int] = field(default_factory=set)
    _bad_output: bool = False
    _flights: deque[_Flight] = field(default_factory=deque)

    def part(self, part: JobPart, buffers: Mapping[int, Tensor]) -> None:
        """Start with one part; write those before it that the device is not to be ahead of."""
        while self._flights and not self._fits(part):
            self._land()
        self._flights.append(self._start(part, buffers))
        while len(self._flights) > self.device.ahead:
            self._land()

    def end(self) -> None:
        """Write what has not been written."""
        while self._flights:
            self._land()

    def _fits(self, part: JobPart) -> bool:
        """Return whether a part can be computed while those in flight still are."""
        in_use = sum(flight.part.working_set for flight in self._flights)
        return in_use + part.working_set <= self.budget

    def _start(self, part: JobPart, buffers: Mapping[int, Tensor]) -> _Flight:
        job, window = part.job, part.window
        inputs = {
            index: decode(self.device.upload(data), read_dtype(job.inputs[index])).reshape(
                window.shape
            )
            for index, data in buffers.items()
        }
        try:
            result = evaluate(job.graph, inputs, job.scalars, window, self.device.torch)
        except MethodError as error:
            message = f"merging {job.key!r}: {error}"
            raise ExecutorError(message, key=job.key, hint=error.hint) from error
        if job.wanted is not None:
            result = result.flatten()[: job.wanted]
        chance = (job.seed, window.begin) if self.by_chance else None
        data, finite = encode(result, job.dtype, chance)
        checks = [torch.isfinite(values).all() for values in inputs.values()]
        read = sum(buffer.nbytes for buffer in buffers.values())
        checked = self.device.download(torch.stack([*checks, finite]))
        sums = self._sums_of(part, result, data)
        return _Flight(part, tuple(inputs), read, checked, self.device.download(data), sums)

    def rounded(self) -> Iterator[Rounded]:
        """Yield what rounding left of the changes of those tensors that have a base."""
        for key, (change, arrived, size, beyond) in self._sums.items():
            yield self.samples[key].rounded(change, arrived, size, beyond)

    def _sums_of(self, part: JobPart, result: Tensor, data: Tensor) -> PendingTransfer | None:
        """Return the sums of a :class:`Rounded` over what a part has of the sample, if any."""
        job, window = part.job, part.window
        sample = self.samples.get(job.key)
        if sample is None:
            return None
        first, last = sample.range
        begin, end = max(first, window.begin), min(last, window.begin + window.count)
        if begin >= end:
            return None
        base = sample.base
        stored = self.device.upload(self._stored(base, begin, end))
        before = decode(stored, read_dtype(base)).double()
        places = slice(begin - window.begin, end - window.begin)
        change = result.flatten()[places].double() - before
        rounded = decode(data.flatten(), job.dtype)[places].double() - before
        beyond = (result.flatten()[places].abs() > LARGEST.get(job.dtype, math.inf)).double()
        sums = (change * change).sum(), (change * rounded).sum(), (before * before).sum()
        return self.device.download(torch.stack((*sums, beyond.sum())))

    def _stored(self, base: formats.Tensor, begin: int, end: int) -> Tensor:
        """Read some elements of a tensor."""
        if not isinstance(base, formats.TensorInfo):
            return torch.frombuffer(formats.values_of(base, begin, end - begin), dtype=torch.uint8)
        size = SIZES[base.dtype]
        buffer = self.device.host_buffer((end - begin) * size)
        with base.file.open("rb", buffering=0) as file:
            file.seek(base.offset + begin * size)
            file.readinto(buffer.numpy().data)
        return buffer

    def _land(self) -> None:
        """Wait for the oldest part, check it and write it."""
        flight = self._flights.popleft()
        part, job = flight.part, flight.part.job
        self._check(flight)
        written = flight.data.result().flatten().numpy().data
        self.sink.write(job.key, part.window.begin * SIZES[job.dtype], written)
        self.bytes_written += written.nbytes
        self.bytes_read += flight.bytes_read
        if flight.sums is not None:
            known = self._sums.get(job.key, [0.0] * 4)
            new = flight.sums.result().tolist()
            self._sums[job.key] = [x + y for x, y in zip(known, new, strict=True)]
        if part.is_last:
            self._finish(job)
        self.meter.add(flight.bytes_read, tensors=part.is_last)

    def _check(self, flight: _Flight) -> None:
        """Note which inputs (None: the result) of a part are not finite, or fail."""
        finite = flight.finite.result().tolist()
        indices = [*flight.inputs, None]
        bad = [index for index, good in zip(indices, finite, strict=True) if not good]
        if bad and self.strict:
            raise nonfinite_error(flight.part.job, bad[0])
        self._bad_inputs.update(index for index in bad if index is not None)
        self._bad_output |= None in bad

    def _finish(self, job: MergeJob) -> None:
        inputs = [NonFinite(job.key, index) for index in sorted(self._bad_inputs)]
        result = [NonFinite(job.key, None)] if self._bad_output else []
        self.nonfinite.extend(inputs or result)
        self._bad_inputs.clear()
        self._bad_output = False


class _Meter:
    """Reports progress, ten times a second at most."""

    def __init__(self, plan: Plan, callback: ProgressCallback | None) -> None:
        self._callback = callback
        totals = plan.jobs.totals
        self._copied = sum(job.source.nbytes for job in plan.copies)
        self._total = totals.nbytes_read
        self._others = totals.counts[CopyJob] + totals.counts[FillJob]
        self._tensors = len(plan.jobs)
        self._bytes_done = self._copied
        self._tensors_done = self._others
        self._last = 0.0

    def of_copies(self, progress: Progress) -> None:
        """Report progress of the copies, which come first."""
        if self._callback is not None:
            done, tensors = progress.bytes_done, progress.tensors_done
            self._callback(Progress(done, self._total, tensors, self._tensors))

    def add(self, nbytes: int, *, tensors: int) -> None:
        """Count what has been merged."""
        self._bytes_done += nbytes
        self._tensors_done += tensors
        if time.monotonic() - self._last >= _INTERVAL:
            self.report()

    def report(self) -> None:
        """Call the callback."""
        self._last = time.monotonic()
        if self._callback is not None:
            progress = (self._bytes_done, self._total, self._tensors_done, self._tensors)
            self._callback(Progress(*progress))
