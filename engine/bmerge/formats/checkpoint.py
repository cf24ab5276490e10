"""What a checkpoint on disk is to the rest of bmerge: names, dtypes, shapes and byte ranges.

No tensor data is ever held here. One checkpoint may lie in several files (shards); each tensor
says in which file its bytes are. To all but executors and copies, what a tensor is made of does
not matter: it is floats with a name and a shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bmerge.records import dataclass

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["POSITION_IDS", "Checkpoint", "ComposedTensor", "Piece", "Tensor", "TensorInfo"]

POSITION_IDS = "embeddings.position_ids"
"""How keys end of what a text encoder counts: no weights, even where a tool has cast them."""


class Tensor(Protocol):
    """A tensor of a checkpoint, however it is stored; immutable, equal if it is the same."""

    @property
    def key(self) -> str:
        """Its name in the state dict."""

    @property
    def dtype(self) -> str:
        """The safetensors tag of what it stands for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of each dimension; empty for a scalar."""

    @property
    def file(self) -> Path:
        """The file that holds it, or the first of them: what it is called by in messages."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that hold some of it."""

    @property
    def numel(self) -> int:
        """Number of elements (1 for a scalar, 0 if any extent is 0)."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in its files."""

    def named(self, key: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """Return the same tensor by another name, and in another shape of as many elements."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies and how to read it.

    Args:
        key: its name in the state dict.
        dtype: safetensors tag, as in :data:`bmerge.dtypes.BITS`.
        shape: extent of each dimension; empty for a scalar.
        file: the file that holds its bytes.
        offset: first byte in that file.
        nbytes: length in bytes.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    nbytes: int

    @property
    def numel(self) -> int:
        """Number of elements (1 for a scalar, 0 if any extent is 0)."""
        return math.prod(self.shape)

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.file,)

    def named(self, key: str, shape: tuple[int, ...] | None = None) -> Self:
        """Return the same tensor by another name, and in another shape of as many elements."""
        shape = self.shape if shape is None else shape
        return type(self)(key, self.dtype, shape, self.file, self.offset, self.nbytes)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some elements of a tensor, in the order in which they lie there.

    Args:
        tensor: whose they are; never a composed one.
        first: index of the first of them in the flattened tensor.
        count: how many they are.
    """

    tensor: Tensor
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class ComposedTensor:
    """A tensor whose elements lie in several places, one piece after another.

    Args:
        key: its name in the state dict.
        dtype: safetensors tag that it stands for; a piece may be stored in another.
        shape: extent of each dimension.
        pieces: all its elements, in their order.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of what is stored of it."""
        return sum(piece.tensor.nbytes * piece.count // piece.tensor.numel for piece in self.pieces)

    @property
    def file(self) -> Path:
        """The file of its first piece, for messages."""
        return self.pieces[0].tensor.file

    @property
    def files(self) -> tuple[Path, ...]:
        """The distinct files of its pieces."""
        return tuple(dict.fromkeys(file for each in self.pieces for file in each.tensor.files))

    def named(self, key: str, shape: tuple[int, ...] | None = None) -> Self:
        """Return the same tensor by another name, and in another shape of as many elements."""
        return replace(self, key=key, shape=self.shape if shape is None else shape)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint's table of contents.

    Args:
        path: what the user named: a file, a shard index or a folder.
        tensors: key → how it is stored, in the order of the file.
        metadata: the file's own string map.
        origin: the files that it was opened from; none: those that its tensors are in.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    origin: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The distinct files that it was opened from, in order of first use."""
        return self.origin or tuple(
            dict.fromkeys(f for info in self.tensors.values() for f in info.files)
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(info.nbytes for info in self.tensors.values())
