"""Which tensors of a checkpoint another layout of it has no place for."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from bmerge.formats.checkpoint import Checkpoint, ComposedTensor, Tensor, TensorInfo
from bmerge.formats.coded import CodedTensor

__all__ = ["lost_tensors"]

_TURNED = "text_projection"
"""What is written anew, since no ranges of a file are its transpose."""


def lost_tensors(before: Checkpoint, after: Checkpoint) -> tuple[str, ...]:
    """Return the keys of the tensors of which nothing is left.

    Args:
        before: a checkpoint.
        after: the same in another layout, or a part of it.
    """
    runs: defaultdict[Path, list[tuple[int, int]]] = defaultdict(list)
    for tensor in after.tensors.values():
        for info in _stored(tensor):
            runs[info.file].append((info.offset, info.offset + info.nbytes))
    for found in runs.values():
        found.sort()
    return tuple(
        tensor.key
        for tensor in before.tensors.values()
        if _TURNED not in tensor.key and not any(_is_in(info, runs) for info in _stored(tensor))
    )


def _stored(tensor: Tensor) -> Iterator[TensorInfo]:
    if isinstance(tensor, TensorInfo):
        yield tensor
    elif isinstance(tensor, CodedTensor):
        yield tensor.parts[0]
    elif isinstance(tensor, ComposedTensor):
        for piece in tensor.pieces:
            yield from _stored(piece.tensor)


def _is_in(info: TensorInfo, runs: dict[Path, list[tuple[int, int]]]) -> bool:
    found = runs.get(info.file, [])
    place = bisect_right(found, (info.offset, info.offset + info.nbytes + 1))
    return any(
        begin <= info.offset < end or info.offset <= begin < info.offset + info.nbytes
        for begin, end in found[max(place - 1, 0) : place + 1]
    )
