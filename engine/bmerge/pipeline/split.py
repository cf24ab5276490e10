"""The pass that takes split jobs apart: some channels of a tensor are merged, the others kept.

Both are made as tensors of their own, from ranges of the inputs, in memory; they are woven
together when they are there. In a file they are not in one piece, row by row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bmerge.dtypes import SIZES
from bmerge.executors import Sink
from bmerge.expr import IDENTITY
from bmerge.formats import Tensor, elements_of
from bmerge.formats.composed import joined, reshaped
from bmerge.plan import Job, Jobs, MergeJob, Plan, SplitJob

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from bmerge._native import OutputFile

__all__ = ["Woven", "split"]

_REST = "{} (other channels)"


def split(plan: Plan, sink: Sink) -> tuple[Plan, Woven]:
    """Return a plan without split jobs, and the sink that it is to be run into."""
    woven = Woven(sink)
    if not plan.jobs.totals.counts[SplitJob]:
        return plan, woven
    return replace(plan, jobs=Jobs.of(_parted(plan.jobs, woven))), woven


def _parted(jobs: Sequence[Job], woven: Woven) -> Iterator[Job]:
    for job in jobs:
        if isinstance(job, SplitJob):
            yield from woven.parts(job)
        else:
            yield job


class Woven:
    """A sink whose split tensors are put together from their two parts.

    Args:
        sink: where all goes.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._parts: dict[str, bytearray] = {}
        self._woven: list[tuple[str, str, int]] = []

    def parts(self, job: SplitJob) -> tuple[MergeJob, MergeJob]:
        """Return the jobs for the channels that are merged and for the others."""
        merge, shared, total = job.merge, job.merge.shape[1], job.rest.shape[1]
        inputs = tuple(_channels(tensor, 0, shared) for tensor in merge.inputs)
        rest, key = _channels(job.rest, shared, total), _REST.format(merge.key)
        merged = replace(merge, inputs=inputs)
        kept = MergeJob(
            key, merge.block, IDENTITY, (rest,), (), rest.shape, merge.dtype, merge.seed
        )
        for part in (merged, kept):
            self._parts[part.key] = bytearray(part.numel * SIZES[part.dtype])
        self._woven.append((merge.key, key, merge.shape[0]))
        return merged, kept

    @property
    def targets(self) -> Sequence[OutputFile | Buffer]:
        """The places that bytes can be written to."""
        return (*self._sink.targets, *self._parts.values())

    def locate(self, key: str) -> tuple[int, int]:
        """Return (index in ``targets``, offset in it) of a tensor's first byte."""
        if key not in self._parts:
            return self._sink.locate(key)
        return len(self._sink.targets) + list(self._parts).index(key), 0

    def write(self, key: str, offset: int, data: Buffer) -> None:
        """Write bytes of a tensor, ``offset`` bytes after its first one."""
        if key not in self._parts:
            self._sink.write(key, offset, data)
            return
        view = memoryview(data).cast("B")
        self._parts[key][offset : offset + view.nbytes] = view

    def finish(self) -> None:
        """Put the tensors together, when all parts are there."""
        for key, rest, rows in self._woven:
            self._sink.write(key, 0, _weave(self._parts[key], self._parts[rest], rows))


def _channels(tensor: Tensor, first: int, last: int) -> Tensor:
    """Return channels ``first`` up to ``last`` of a tensor as one."""
    shape = (1, last - first, *tensor.shape[2:])
    count, row = math.prod(shape), math.prod(tensor.shape[1:])
    begin = first * (count // (last - first))
    rows = (elements_of(tensor, begin + at * row, count) for at in range(tensor.shape[0]))
    return joined([reshaped(each, shape) for each in rows], tensor.key)


def _weave(left: bytearray, right: bytearray, rows: int) -> bytes:
    """Join row 0 of both, row 1 of both, and so on."""
    m, n = len(left) // rows, len(right) // rows
    return b"".join(left[i * m : (i + 1) * m] + right[i * n : (i + 1) * n] for i in range(rows))
