"""Tensors made of others: rows of one, several after one another, another shape.

All of it along the first axis, so that a tensor that lies plainly in a file stays one wherever its
bytes are one range of it, and is a :class:`.checkpoint.ComposedTensor` of ranges elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bmerge.formats.checkpoint import ComposedTensor, Piece, Tensor, TensorInfo

__all__ = ["elements_of", "joined", "pieces_of", "renamed", "reshaped", "rows_of", "runs_of"]


def renamed(tensor: Tensor, key: str) -> Tensor:
    """Return a tensor by another name."""
    return tensor if tensor.key == key else tensor.named(key)


def reshaped(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a tensor in another shape of as many elements.

    Raises:
        ValueError: if it has another number.
    """
    shape = tuple(shape)
    if math.prod(shape) != tensor.numel:
        raise ValueError(f"{tensor.key!r} of shape {list(tensor.shape)} is not {list(shape)}")
    return tensor.named(tensor.key, shape)


def rows_of(tensor: Tensor, key: str, begin: int, end: int) -> Tensor:
    """Return rows ``begin`` up to ``end`` of a tensor as a tensor.

    Args:
        tensor: with at least one dimension.
        key: what the rows are called.
        begin: the first of them.
        end: the one after the last.
    """
    row = math.prod(tensor.shape[1:])
    rows = elements_of(tensor, begin * row, (end - begin) * row)
    return rows.named(key, (end - begin, *tensor.shape[1:]))


def elements_of(tensor: Tensor, first: int, count: int) -> Tensor:
    """Return consecutive elements of a tensor as a tensor of one dimension."""
    return _of(tensor.key, tensor.dtype, (count,), tuple(_cut(pieces_of(tensor), first, count)))


def joined(tensors: Sequence[Tensor], key: str) -> Tensor:
    """Return tensors after one another along their first axis; the dtype is that of the first.

    Raises:
        ValueError: if they differ in the other extents.
    """
    first = tensors[0]
    rest = {tensor.shape[1:] for tensor in tensors}
    if len(rest) > 1 or not all(tensor.shape for tensor in tensors):
        raise ValueError(f"{first.key!r} and {tensors[-1].key!r} do not fit one another")
    shape = (sum(tensor.shape[0] for tensor in tensors), *first.shape[1:])
    pieces = tuple(piece for tensor in tensors for piece in pieces_of(tensor))
    return _of(key, first.dtype, shape, pieces)


def runs_of(tensor: Tensor) -> tuple[TensorInfo, ...] | None:
    """Return the runs of bytes that a tensor is, one after another.

    None if some of it is not stored as it is, or in another dtype than the one it stands for.
    """
    runs = [_narrowed(piece).tensor for piece in pieces_of(tensor)]
    found = tuple(r for r in runs if isinstance(r, TensorInfo) and r.dtype == tensor.dtype)
    return found if len(found) == len(runs) else None


def pieces_of(tensor: Tensor) -> tuple[Piece, ...]:
    """Return what a tensor is made of: itself, if it is of one piece."""
    if isinstance(tensor, ComposedTensor):
        return tensor.pieces
    return (Piece(tensor, 0, tensor.numel),)


def _cut(pieces: Sequence[Piece], first: int, count: int) -> Iterator[Piece]:
    """Yield what of pieces makes the elements from ``first`` on."""
    before = 0
    for piece in pieces:
        begin = max(first - before, 0)
        end = min(first + count - before, piece.count)
        if begin < end:
            yield Piece(piece.tensor, piece.first + begin, end - begin)
        before += piece.count


def _of(key: str, dtype: str, shape: tuple[int, ...], pieces: Sequence[Piece]) -> Tensor:
    """Return a tensor of pieces, those that continue one another in a file as one."""
    merged: list[Piece] = []
    for piece in map(_narrowed, pieces):
        last = _continued(merged[-1], piece) if merged else None
        if last is None:
            merged.append(piece)
        else:
            merged[-1] = last
    if len(merged) == 1 and isinstance(only := merged[0].tensor, TensorInfo):
        return replace(only, key=key, shape=shape)
    return ComposedTensor(key, dtype, shape, tuple(merged))


def _narrowed(piece: Piece) -> Piece:
    """Return a piece of what lies plainly in a file as the whole of a smaller tensor."""
    tensor = piece.tensor
    if not isinstance(tensor, TensorInfo) or piece.count == tensor.numel:
        return piece
    size = tensor.nbytes // tensor.numel
    info = replace(
        tensor, shape=(piece.count,), offset=tensor.offset + piece.first * size,
        nbytes=piece.count * size,
    )  # fmt: skip
    return Piece(info, 0, piece.count)


def _continued(one: Piece, other: Piece) -> Piece | None:
    """Return two pieces as one, if the second lies where the first ends."""
    a, b = one.tensor, other.tensor
    if isinstance(a, TensorInfo) and isinstance(b, TensorInfo):
        alike = (a.file, a.dtype, a.offset + a.nbytes) == (b.file, b.dtype, b.offset)
        count = one.count + other.count
        info = replace(a, shape=(count,), nbytes=a.nbytes + b.nbytes)
        return Piece(info, 0, count) if alike else None
    if a == b and one.first + one.count == other.first:
        return Piece(a, one.first, one.count + other.count)
    return None
