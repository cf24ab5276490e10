"""Tensors that are stored as codes with scales, and stand for floats.

Which of a file's tensors are such, and how, is said by :mod:`.quantised` and :mod:`.codecs`; the
native core decodes them, some elements at a time.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmerge.formats.checkpoint import ComposedTensor, Tensor, TensorInfo
from bmerge.formats.table import LargeTable
from bmerge.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from typing_extensions import Self

__all__ = ["Codec", "CodedTensor", "coded_part", "holds_codes", "native_input", "values_of"]


@dataclass(frozen=True, slots=True)
class Codec:
    """How elements lie in their parts, as :func:`bmerge._native.merge` takes it.

    Args:
        name: ``scaled``, ``levels``, ``ggml`` or ``packed``.
        parameters: what else the core is told of it.
    """

    name: str
    parameters: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CodedTensor:
    """A tensor of codes.

    Args:
        key: the name of the float tensor.
        dtype: safetensors tag of what it stands for: its values take no more than that.
        shape: extent of each dimension of the float tensor.
        format: what the format is called.
        codec: how elements lie in parts.
        parts: codes, scales and so on, in the codec's order; each as it is stored.
        others: what else belongs to it in its file: role → tensor.
        declared: what the header says of it in ComfyUI's way, as JSON; empty if it does not.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    format: str
    codec: Codec
    parts: tuple[TensorInfo, ...]
    others: tuple[tuple[str, TensorInfo], ...] = ()
    declared: str = ""

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its parts."""
        return sum(part.nbytes for part in self.parts)

    @property
    def file(self) -> Path:
        """The file of its codes."""
        return self.parts[0].file

    @property
    def files(self) -> tuple[Path, ...]:
        """The distinct files of its parts."""
        return tuple(dict.fromkeys(part.file for part in self.parts))

    def named(self, key: str, shape: tuple[int, ...] | None = None) -> Self:
        """Return the same tensor by another name, and in another shape of as many elements."""
        return replace(self, key=key, shape=self.shape if shape is None else shape)


def coded_part(tensor: Tensor | None) -> CodedTensor | None:
    """Return the first of the weights that a tensor is made of, if all of them are codes."""
    pieces = tensor.pieces if isinstance(tensor, ComposedTensor) else ()
    parts = [piece.tensor for piece in pieces if isinstance(piece.tensor, CodedTensor)]
    return parts[0] if parts and len(parts) == len(pieces) else None


def holds_codes(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether some of a model's tensors are codes, or are made of codes alone."""
    return not isinstance(tensors, LargeTable) and any(
        isinstance(tensor, CodedTensor) or coded_part(tensor) for tensor in tensors.values()
    )


def native_input(tensor: Tensor, source: Callable[[Path], int]) -> Any:
    """Return a tensor as the core takes an input of a job.

    Args:
        tensor: as it is stored; LoRAs are not.
        source: file → its number.
    """
    if isinstance(tensor, TensorInfo):
        return source(tensor.file), tensor.offset, tensor.dtype
    if isinstance(tensor, ComposedTensor):
        pieces = tensor.pieces
        return [(native_input(each.tensor, source), each.first, each.count) for each in pieces]
    assert isinstance(tensor, CodedTensor), tensor
    parts = [(source(part.file), part.offset) for part in tensor.parts]
    return tensor.codec.name, parts, tensor.codec.parameters


def values_of(tensor: Tensor, first: int = 0, count: int | None = None) -> bytearray:
    """Decode elements of a tensor to the bytes of float32.

    Args:
        tensor: of floats or codes, composed or not.
        first: index of the first of them in the flattened tensor.
        count: how many; all that follow if None.

    Raises:
        NativeError: if a file cannot be read or has become shorter.
    """
    from bmerge import _native

    count = tensor.numel - first if count is None else count
    files = {file: index for index, file in enumerate(tensor.files)}
    whole = native_input(tensor, files.__getitem__)
    target = bytearray(4 * count)
    pieces = whole if isinstance(whole, list) else [(whole, 0, tensor.numel)]
    _native.decode(list(files), list(_cut(pieces, first, count)), target)
    return target


def _cut(
    pieces: Sequence[tuple[Any, int, int]], first: int, count: int
) -> Iterator[tuple[Any, int, int]]:
    """Yield what of pieces makes the elements from ``first`` on."""
    before = 0
    for stored, begin, length in pieces:
        start, end = max(first - before, 0), min(first + count - before, length)
        if start < end:
            yield stored, begin + start, end - start
        before += length
