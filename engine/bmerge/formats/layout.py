"""The seam between what writes tensors and the format of the file that they go to.

Where each tensor lies is known before any of them is computed; they are written in any order,
and the format adds the rest when all are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

from bmerge import _native

__all__ = ["Layout", "SafetensorsLayout", "TensorRow", "in_utf8"]

TensorRow: TypeAlias = "tuple[str, str, Sequence[int]]"
"""Key, safetensors tag and shape."""


class Layout(Protocol):
    """Where everything goes in a file that is to be written."""

    @property
    def offsets(self) -> Sequence[int]:
        """First byte of every tensor, in the order in which they were given."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""

    def finish(self, file: _native.OutputFile) -> None:
        """Write what is not a tensor; called once, when all tensors are in the file.

        Raises:
            IoError: if it cannot be written.
        """


class SafetensorsLayout(Mapping[str, int]):
    """A header and the tensors after it; of each key, where its tensor begins.

    Args:
        tensors: in their order.
        metadata: of the file.
        room: bytes that the header has at least; a multiple of 8.
    """

    def __init__(
        self, tensors: Iterable[TensorRow], metadata: Mapping[str, str], room: int = 0
    ) -> None:
        self._layout = _native.encode_header(tensors, metadata, room)
        self._metadata = metadata
        self._begun = False
        self.size = self._layout.size

    @property
    def offsets(self) -> Sequence[int]:
        """First byte of every tensor, in the order in which they were given."""
        return self._layout.offsets

    def __getitem__(self, key: str) -> int:
        """Return the first byte of a tensor."""
        return self._layout.offset_of(key)

    def __iter__(self) -> Iterator[str]:
        """Yield the keys."""
        return map(self._layout.name, range(len(self)))

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._layout)

    def begin(self, file: _native.OutputFile) -> None:
        """Write the header before the tensors are there; of a million it takes 90 MB in memory.

        Raises:
            IoError: if it cannot be written.
        """
        self._layout.begin(file)
        self._begun = True

    def finish(self, file: _native.OutputFile, metadata: Mapping[str, str] | None = None) -> None:
        """Write the header, if it is not there yet.

        Args:
            file: the file.
            metadata: to write instead of that which the layout was made with; as long.

        Raises:
            IoError: if it cannot be written.
        """
        if not self._begun:
            self.begin(file)
        if metadata is not None:
            self._layout.rewrite(file, self._metadata, in_utf8(metadata))


def in_utf8(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata as it can be written."""
    return {_utf8(key): _utf8(text) for key, text in metadata.items()}


def _utf8(text: str) -> str:
    """Return text as it can be written, with escapes for bytes of names that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
