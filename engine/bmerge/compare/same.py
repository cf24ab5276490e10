"""Whether a file that was made again is the same as before, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bmerge.errors import FormatError
from bmerge.formats import Checkpoint, Tensor, TensorInfo
from bmerge.formats.composed import runs_of
from bmerge.records import dataclass

__all__ = ["Sameness", "same_values", "sameness"]

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Sameness:
    """What two files have in common.

    Args:
        files: whether all their bytes are the same; None if one of them is a set of shards.
        tensors: keys whose tensors differ in bytes, dtype or shape, or are in one file only.
        metadata: entries that differ, or are in one file only.
    """

    files: bool | None
    tensors: tuple[str, ...]
    metadata: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether there is no difference at all."""
        return self.files is not False and not self.tensors and not self.metadata

    @property
    def data(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "same": self.same, "bytes": self.files, "tensors_differ": list(self.tensors),
            "metadata_differs": list(self.metadata),
        }  # fmt: skip


def sameness(one: Checkpoint, other: Checkpoint) -> Sameness:
    """Compare two checkpoints.

    Raises:
        FormatError: if one cannot be read.
    """
    files = None
    if _is_file(one) and _is_file(other):
        sizes = [checkpoint.path.stat().st_size for checkpoint in (one, other)]
        files = _same_ranges((one.path, 0, sizes[0]), (other.path, 0, sizes[1]))
        if files:
            return Sameness(files, (), ())
    keys = dict.fromkeys([*one.tensors, *other.tensors])
    tensors = (k for k in keys if not _same(one.tensors.get(k), other.tensors.get(k)))
    texts = dict.fromkeys([*one.metadata, *other.metadata])
    entries = (name for name in texts if one.metadata.get(name) != other.metadata.get(name))
    return Sameness(files, tuple(tensors), tuple(entries))


def same_values(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors of one dtype and shape hold the same bytes.

    Raises:
        FormatError: if one cannot be read.
    """
    first, second = runs_of(one), runs_of(other)
    if first is None or second is None:  # what is computed is the same if its parts are
        return one == other
    if len(first) == len(second) == 1:
        return _same_ranges(*((run.file, run.offset, run.nbytes) for run in (*first, *second)))
    return b"".join(map(_read, first)) == b"".join(map(_read, second))


def _same_ranges(one: tuple[Path, int, int], other: tuple[Path, int, int]) -> bool:
    if one[2] != other[2]:
        return False
    try:
        with one[0].open("rb") as first, other[0].open("rb") as second:
            first.seek(one[1])
            second.seek(other[1])
            sizes = (min(_CHUNK, one[2] - at) for at in range(0, one[2], _CHUNK))
            return all(first.read(size) == second.read(size) for size in sizes)
    except OSError as error:
        raise FormatError(f"{error.filename}: {error.strerror}", path=one[0]) from error


def _read(run: TensorInfo) -> bytes:
    try:
        with run.file.open("rb") as file:
            file.seek(run.offset)
            return file.read(run.nbytes)
    except OSError as error:
        raise FormatError(f"{run.file}: {error.strerror}", path=run.file) from error


def _is_file(checkpoint: Checkpoint) -> bool:
    return checkpoint.path.is_file() and checkpoint.path.suffix != ".json"


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return same_values(one, other)
