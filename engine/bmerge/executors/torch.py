"""The torch executor: the method's graph run on torch tensors, on a CPU or a GPU.

Part by part: read, convert to float32, compute, convert to the output's dtype, write. On a CPU
the bytes are those of the native executor, which also does the copies here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain

import torch
from torch import Tensor

from bmerge.dtypes import SIZES
from bmerge.errors import ExecutorError
from bmerge.executors.base import (
    ExecutionReport,
    NonFinite,
    Progress,
    ProgressCallback,
    Sink,
    nonfinite_error,
)
from bmerge.executors.codec import decode, encode
from bmerge.executors.device import Device, open_device
from bmerge.executors.native import NativeExecutor
from bmerge.executors.parts import Part, Parts
from bmerge.executors.reader import read_ahead
from bmerge.expr.evaluate import evaluate
from bmerge.plan import MergeJob, Plan

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

    def run(
        self, plan: Plan, sink: Sink, *, progress: ProgressCallback | None = None
    ) -> ExecutionReport:
        """Write every output tensor of ``plan``; see :class:`bmerge.executors.Executor`."""
        device = self.open_device(self.device)
        parts = Parts(device, self.memory, self.vram)
        meter = _Meter(plan, progress)
        native = NativeExecutor(self.memory)
        copied = native.run(replace(plan, merges=()), sink, progress=meter.of_copies)
        recipe = plan.recipe
        strict, by_chance = recipe.on_nonfinite == "error", recipe.rounding == "stochastic"
        run = _Run(device, sink, meter, strict=strict, by_chance=by_chance)
        try:
            everything = chain.from_iterable(map(parts.of, plan.merges))
            with closing(read_ahead(everything, device.host_buffer)) as reading:
                for part, buffers in reading:
                    run.part(part, buffers)
        except torch.cuda.OutOfMemoryError as error:
            message = f"{self.device} has too little free memory"
            hint = "lower --vram, or use --executor native"
            raise ExecutorError(message, hint=hint) from error
        meter.report()
        return ExecutionReport(
            self.name, tuple(run.nonfinite), run.bytes_read, run.bytes_written, copied.bytes_copied
        )


@dataclass(slots=True)
class _Run:
    """Computes parts, one after the other, and counts."""

    device: Device
    sink: Sink
    meter: _Meter
    strict: bool
    by_chance: bool
    nonfinite: list[NonFinite] = field(default_factory=list)
    bytes_read: int = 0
    bytes_written: int = 0
    _bad_inputs: set[int] = field(default_factory=set)
    _bad_output: bool = False

    def part(self, part: Part, buffers: Mapping[int, Tensor]) -> None:
        """Compute, check and write one part."""
        job, window = part.job, part.window
        inputs = {
            index: decode(self.device.upload(data), job.inputs[index].dtype).reshape(window.shape)
            for index, data in buffers.items()
        }
        result = evaluate(job.graph, inputs, job.scalars, window, self.device.torch)
        chance = (job.seed, window.begin) if self.by_chance else None
        data, finite = encode(result, job.dtype, chance)
        self._check(job, inputs, finite)
        written = self.device.download(data).flatten().numpy().data
        self.sink.write(job.key, window.begin * SIZES[job.dtype], written)
        self.bytes_written += written.nbytes
        read = sum(buffer.nbytes for buffer in buffers.values())
        self.bytes_read += read
        if part.is_last:
            self._finish(job)
        self.meter.add(read, tensors=part.is_last)

    def _check(self, job: MergeJob, inputs: Mapping[int, Tensor], result_is_finite: Tensor) -> None:
        """Note which inputs (None: the result) of a part are not finite, or fail."""
        checks = [torch.isfinite(values).all() for values in inputs.values()]
        finite = torch.stack([*checks, result_is_finite]).tolist()  # waits for a GPU: once
        bad = [index for index, good in zip([*inputs, None], finite, strict=True) if not good]
        if bad and self.strict:
            raise nonfinite_error(job, bad[0])
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
        self._copied = sum(job.source.nbytes for job in plan.copies)
        merged = sum(info.nbytes for job in plan.merges for info in job.used_inputs)
        self._total = merged + self._copied
        self._others = len(plan.copies) + len(plan.fills)
        self._tensors = len(plan.merges) + self._others
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
