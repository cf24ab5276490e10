"""The seam between what writes tensors and the format of the file that they go to.

Where each tensor lies is known before any of them is computed; they are written in any order,
and the format adds the rest when all are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from bmerge import _native
from bmerge.errors import FormatError
from bmerge.formats.target import GGUF_SUFFIX, PICKLED_SUFFIXES

__all__ = ["Layout", "TensorRow", "lay_out"]

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


class _Safetensors:
    """A header and the tensors after it."""

    def __init__(self, tensors: Iterable[TensorRow], metadata: Mapping[str, str]) -> None:
        self._header, self.offsets, self.size = _native.encode_header(tensors, metadata)

    def finish(self, file: _native.OutputFile) -> None:
        file.write_at(0, self._header)


def lay_out(path: Path, tensors: Iterable[TensorRow], metadata: Mapping[str, str]) -> Layout:
    """Lay out a file in the format that its suffix says.

    The size and all offsets depend on the lengths of ``metadata`` alone, not on what it says.

    Args:
        path: the name that the file will have.
        tensors: in their order; gone through once, as there may be a million.
        metadata: of the file.

    Raises:
        FormatError: if the format cannot hold them.
    """
    metadata = {_utf8(key): _utf8(text) for key, text in metadata.items()}
    try:
        if path.suffix.lower() == GGUF_SUFFIX:
            from bmerge.formats.gguf_layout import GgufLayout

            return GgufLayout(path, tuple(tensors), metadata)
        if path.suffix.lower() in PICKLED_SUFFIXES:
            from bmerge.formats.torch_file import TorchLayout  # few merges write these

            return TorchLayout(tuple(tensors), metadata)
        return _Safetensors(tensors, metadata)
    except _native.HeaderError as error:
        raise FormatError(f"{path} cannot be stored: {error}", path=path) from error


def _utf8(text: str) -> str:
    """Return text as it can be written, with escapes for bytes of names that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
