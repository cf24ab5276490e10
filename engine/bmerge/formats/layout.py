"""The seam between what writes tensors and the format of the file that they go to.

Where each tensor lies is known before any of them is computed; they are written in any order,
and the format adds the rest when all are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from bmerge import _native

__all__ = ["Layout", "SafetensorsLayout", "TensorRow"]

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
        """Write what is no tensor; called once, when all tensors are in the file.

        Raises:
            IoError: if it cannot be written.
        """


class SafetensorsLayout:
    """A header and the tensors after it."""

    def __init__(self, tensors: Iterable[TensorRow], metadata: Mapping[str, str]) -> None:
        self._header, self.offsets, self.size = _native.encode_header(tensors, metadata)

    def finish(self, file: _native.OutputFile) -> None:
        """Write the header."""
        file.write_at(0, self._header)
