"""Tensors that an executor cannot read as they are stored, computed and handed to it as files.

So the tensors of some jobs at a time that have LoRAs on them, say, are computed into temporary
files, in float32, of which as many bytes lie there at once as fit :data:`_AT_ONCE`, or one job's.
They are seldom written to the disk: they are gone before. Of changes that are products of computed
factors it is these alone, if the executor can read the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeAlias

from bmerge.executors import Progress, ProgressCallback
from bmerge.formats import Tensor, TensorInfo
from bmerge.lora.factored import Factored, factored
from bmerge.lora.patched import PatchedTensor
from bmerge.plan import MergeJob
from bmerge.temporaries import temporary_folder, writing_within

__all__ = ["Stages", "computed", "groups_of"]

_AT_ONCE = 64 << 20
_FLOAT32 = 4

Reads: TypeAlias = Callable[[Tensor], bool]
"""Tells whether an executor can read a tensor."""


def groups_of(jobs: Sequence[MergeJob], reads: Reads) -> Iterator[list[MergeJob]]:
    """Yield the jobs that read tensors to be computed, in groups of a bounded amount of bytes."""
    group: list[MergeJob] = []
    size = 0
    for job in jobs:
        need = sum(_need_of(tensor, reads) for tensor in _unread(job, reads))
        if not need:
            continue
        if group and size + need > _AT_ONCE:
            yield group
            group, size = [], 0
        group.append(job)
        size += need
    if group:
        yield group


@contextlib.contextmanager
def computed(jobs: Sequence[MergeJob], reads: Reads) -> Iterator[tuple[MergeJob, ...]]:
    """Give jobs whose inputs are computed; their files are gone after the block."""
    with temporary_folder("lora") as folder:
        yield tuple(
            replace(job, inputs=_computed(job, reads, folder / str(number)))
            for number, job in enumerate(jobs)
        )


def _unread(job: MergeJob, reads: Reads) -> list[Tensor]:
    """Return the inputs of a job that must be computed, each once."""
    found: list[Tensor] = []
    for tensor in job.used_inputs:
        if not isinstance(tensor, TensorInfo) and not reads(tensor) and tensor not in found:
            found.append(tensor)
    return found


def _need_of(tensor: Tensor, reads: Reads) -> int:
    """Return how many bytes a tensor to be computed takes as a file."""
    found = _factored(tensor, reads, Path())
    return _FLOAT32 * tensor.numel if found is None else found.nbytes


def _factored(tensor: Tensor, reads: Reads, file: Path) -> Factored | None:
    """Return a tensor that can be read once its factors lie in a file, or None."""
    found = factored(tensor, file)
    return found if found.made and reads(found.tensor) else None


def _computed(job: MergeJob, reads: Reads, folder: Path) -> tuple[Tensor, ...]:
    folder.mkdir()
    inputs, written = _unread(job, reads), []
    for number, info in enumerate(inputs):
        own = folder / str(number)
        file = own / _called(info)
        with writing_within(folder.parent):
            own.mkdir()
            with file.open("wb") as out:
                written.append(_write(info, reads, file, out))
    return tuple(written[inputs.index(info)] if info in inputs else info for info in job.inputs)


def _write(tensor: Tensor, reads: Reads, file: Path, out: BinaryIO) -> Tensor:
    """Write what a tensor is computed from, or its values, and return it as it is read then."""
    from bmerge.lora.patch import write_floats

    found = _factored(tensor, reads, file)
    if found is not None:
        found.write(out)
        return found.tensor
    write_floats(tensor, out)
    return TensorInfo(tensor.key, "F32", tensor.shape, file, 0, _FLOAT32 * tensor.numel)


def _called(info: Tensor) -> str:
    """Return the name of a tensor's file: it stands in messages."""
    loras = " with its LoRAs" if isinstance(info, PatchedTensor) else ""
    return info.file.name[:200] + loras


class Stages:
    """Progress of a merge that an executor runs in several parts.

    Args:
        callback: gets the progress of the whole.
        sizes: bytes that each part reads.
        tensors: of the whole.
    """

    def __init__(
        self, callback: ProgressCallback | None, sizes: Sequence[int], tensors: int
    ) -> None:
        self._callback = callback
        self._rest = list(sizes)
        self._tensors = tensors
        self._bytes_done = 0
        self._tensors_done = 0

    def next(self) -> ProgressCallback | None:
        """Return the callback of the next part."""
        if self._callback is None:
            return None
        del self._rest[0]
        before, tensors = self._bytes_done, self._tensors_done

        def report(at: Progress) -> None:
            assert self._callback is not None
            self._bytes_done = before + at.bytes_done
            self._tensors_done = tensors + at.tensors_done
            total = before + at.bytes_total + sum(self._rest)
            self._callback(Progress(self._bytes_done, total, self._tensors_done, self._tensors))

        return report
