"""A checkpoint with LoRAs on it: the same tensors, some of which are yet to be changed.

A tensor that LoRAs change is a :class:`PatchedTensor`, which has the name, dtype and shape of what
is stored; :mod:`.patch` reads it, adds the changes in float32 and hands the sum to the merge,
which rounds once. Every plan asks for these, so nothing else of this room is imported here.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bmerge.formats import Checkpoint, Tensor, TensorInfo, pieces_of
from bmerge.records import dataclass

if TYPE_CHECKING:
    from typing_extensions import Self

    from bmerge.lora.changes import AppliedLora, Change

__all__ = ["PatchedCheckpoint", "PatchedTensor", "is_patched", "loras_of", "unpatched"]


@dataclass(frozen=True, slots=True)
class PatchedTensor:
    """A tensor as a checkpoint holds it, and what LoRAs add to it.

    Args:
        base: the tensor without them.
        changes: each of them is a change of it; they are summed.
        channels: how many input channels it has, if more than are stored: control LoRAs of Flux
            are for a first layer that takes a picture too. Those that are new are 0 before
            changes.
    """

    base: Tensor
    changes: tuple[Change, ...]
    channels: int | None = None

    @property
    def key(self) -> str:
        """Its name in the state dict."""
        return self.base.key

    @property
    def dtype(self) -> str:
        """The safetensors tag of the tensor without changes."""
        return self.base.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of each dimension."""
        stored = self.base.shape
        return stored if self.channels is None else (stored[0], self.channels, *stored[2:])

    @property
    def file(self) -> Path:
        """The model's file."""
        return self.base.file

    @property
    def files(self) -> tuple[Path, ...]:
        """The model's files."""
        return self.base.files

    @property
    def numel(self) -> int:
        """Number of elements."""
        return self.base.numel if self.channels is None else math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in the model's files."""
        return self.base.nbytes

    def named(self, key: str, shape: tuple[int, ...] | None = None) -> Self:
        """Return the same tensor by another name; changes are of rows, so the shape is kept."""
        assert shape is None or shape == self.shape
        return replace(self, base=self.base.named(key))


@dataclass(frozen=True, slots=True)
class PatchedCheckpoint(Checkpoint):
    """A checkpoint with LoRAs on it.

    Args:
        loras: in the order in which they were named.
    """

    loras: tuple[AppliedLora, ...] = ()


def unpatched(tensor: Tensor) -> Tensor:
    """Return a tensor without the changes of LoRAs."""
    return tensor.base if isinstance(tensor, PatchedTensor) else tensor


def is_patched(tensor: Tensor) -> bool:
    """Tell whether LoRAs are on a tensor, or on a part of what it is made of."""
    if isinstance(tensor, TensorInfo):  # of the most there are very many
        return False
    return any(isinstance(piece.tensor, PatchedTensor) for piece in pieces_of(tensor))


def loras_of(checkpoint: Checkpoint) -> tuple[AppliedLora, ...]:
    """Return the LoRAs on a checkpoint; none if it is as it lies in its file."""
    return checkpoint.loras if isinstance(checkpoint, PatchedCheckpoint) else ()
