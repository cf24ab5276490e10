"""The two places that a merge can go to: files, and buffers in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bmerge._native import OutputFile

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BufferSink", "FileSink", "OnePlace"]


class FileSink:
    """One or more files in which every tensor has its place.

    Args:
        files: preallocated.
        places: key → (index of its file, first byte in it).
    """

    def __init__(self, files: Sequence[OutputFile], places: Mapping[str, tuple[int, int]]) -> None:
        self._files = files
        self._places = places

    @property
    def targets(self) -> Sequence[OutputFile]:
        """The files."""
        return self._files

    def locate(self, key: str) -> tuple[int, int]:
        """Return (index of the tensor's file, offset in it)."""
        return self._places[key]

    def write(self, key: str, offset: int, data: Buffer) -> None:
        """Write bytes of a tensor, ``offset`` bytes after its first one."""
        file, begin = self._places[key]
        self._files[file].write_at(begin + offset, data)


class OnePlace(Mapping[str, tuple[int, int]]):
    """The places of tensors that all go into one file.

    Args:
        offsets: key → first byte in it.
    """

    def __init__(self, offsets: Mapping[str, int]) -> None:
        self._offsets = offsets

    def __getitem__(self, key: str) -> tuple[int, int]:
        """Return the place of a tensor."""
        return 0, self._offsets[key]

    def __iter__(self) -> Iterator[str]:
        """Yield the keys."""
        return iter(self._offsets)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._offsets)


class BufferSink:
    """One writable buffer for every tensor.

    Args:
        buffers: key → all bytes of the tensor, as a contiguous view of bytes.
    """

    def __init__(self, buffers: Mapping[str, memoryview]) -> None:
        self._buffers = tuple(buffers.values())
        self._index = {key: index for index, key in enumerate(buffers)}

    @property
    def targets(self) -> Sequence[memoryview]:
        """The buffers."""
        return self._buffers

    def locate(self, key: str) -> tuple[int, int]:
        """Return (index of the tensor's buffer, 0)."""
        return self._index[key], 0

    def write(self, key: str, offset: int, data: Buffer) -> None:
        """Write bytes of a tensor, ``offset`` bytes after its first one."""
        view = memoryview(data).cast("B")
        self._buffers[self._index[key]][offset : offset + view.nbytes] = view
