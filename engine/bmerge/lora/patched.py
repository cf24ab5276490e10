"""A checkpoint with LoRAs on it: the same tensors, some of which are yet to be changed.

A tensor that LoRAs change is a :class:`PatchedTensor`, which has the name, dtype and shape of the
stored one; :mod:`.patch` reads it, adds the changes in float32 and hands the sum to the merge,
which rounds once. Every plan asks for these, so nothing else of this room is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bmerge.formats import Checkpoint, TensorInfo

if TYPE_CHECKING:
    from bmerge.lora.apply import Applied, Change

__all__ = ["PatchedCheckpoint", "PatchedTensor", "loras_of"]


@dataclass(frozen=True, slots=True)
class PatchedTensor(TensorInfo):
    """A tensor as a checkpoint holds it, and what LoRAs add to it.

    Args:
        changes: each of them is a change of the stored tensor; they are summed.
    """

    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class PatchedCheckpoint(Checkpoint):
    """A checkpoint with LoRAs on it.

    Args:
        loras: in the order in which they were named.
    """

    loras: tuple[Applied, ...] = ()


def loras_of(checkpoint: Checkpoint) -> tuple[Applied, ...]:
    """Return the LoRAs on a checkpoint; none if it is as it lies in its file."""
    return checkpoint.loras if isinstance(checkpoint, PatchedCheckpoint) else ()
