"""The two places that a merge can go to: a file, and buffers in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bmerge._native import OutputFile

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BufferSink", "FileSink"]


class FileSink:
    """One file in which every tensor has its place.

    Args:
        file: preallocated.
        offsets: key → first byte in the file.
    """

    def __init__(self, file: OutputFile, offsets: Mapping[str, int]) -> None:
        self._file = file
        self._offsets = offsets

    @property
    def targets(self) -> Sequence[OutputFile]:
        """The file."""
        return (self._file,)

    def locate(self, key: str) -> tuple[int, int]:
        """Return (0, offset in the file)."""
        return 0, self._offsets[key]

    def write(self, key: str, offset: int, data: Buffer) -> None:
        """Write bytes of a tensor, ``offset`` bytes after its first one."""
        self._file.write_at(self._offsets[key] + offset, data)


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
