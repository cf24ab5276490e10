"""The layers of a diffusion model by their names in its other layouts.

Layouts are data (:mod:`bmerge.formats.layouts`): which rows of which tensor another layout has
under which name. A LoRA's layer may be some rows of a tensor, or several tensors together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from bmerge.formats import ComposedTensor, Tensor, TensorInfo
from bmerge.formats.layouts import other_layouts
from bmerge.records import dataclass

__all__ = ["StoredRows", "rows_elsewhere"]

_ITEM = 4


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Rows of a stored tensor that are rows of a tensor of another layout.

    Args:
        key: of the stored tensor.
        rows: the first of its rows and the one after the last; None for all.
        of: the same in the other tensor; None if it is no more than these.
        swapped: whether its halves are the other way round.
    """

    key: str
    rows: tuple[int, int] | None = None
    of: tuple[int, int] | None = None
    swapped: bool = False


def rows_elsewhere(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]],
) -> Iterator[tuple[str, tuple[StoredRows, ...]]]:
    """Yield the names in other layouts, and what of the stored tensors is behind each.

    Args:
        tensors: name in the diffusion model → key and shape of a stored tensor.
    """
    keys = list(tensors.values())
    # Nothing is read: each tensor is called a file of its own, so that ranges tell where they lie.
    stored: dict[str, Tensor] = {
        name: TensorInfo(name, "F32", shape, Path(str(number)), 0, _ITEM * math.prod(shape))
        for number, (name, (_, shape)) in enumerate(tensors.items())
    }
    for _, converted in other_layouts(stored):
        for name, tensor in converted.items():
            if isinstance(tensor, TensorInfo):
                yield name, (_range(tensor, keys),)
            elif isinstance(tensor, ComposedTensor):
                yield name, tuple(_ranges(tensor, keys))


def _ranges(
    tensor: ComposedTensor, keys: list[tuple[str, tuple[int, ...]]]
) -> Iterator[StoredRows]:
    pieces = [piece.tensor for piece in tensor.pieces]
    plain = [piece for piece in pieces if isinstance(piece, TensorInfo)]
    found = [_range(piece, keys) for piece in plain]
    if len(found) == 2 and found[0].key == found[1].key:
        yield StoredRows(found[0].key, swapped=True)
        return
    row = math.prod(tensor.shape[1:])
    begin = 0
    for piece, rows in zip(plain, found, strict=True):
        end = begin + piece.numel // row
        yield StoredRows(rows.key, rows.rows, (begin, end))
        begin = end


def _range(tensor: TensorInfo, keys: list[tuple[str, tuple[int, ...]]]) -> StoredRows:
    key, shape = keys[int(tensor.file.name)]
    if tensor.numel == math.prod(shape):
        return StoredRows(key)
    row = math.prod(shape[1:])
    begin = tensor.offset // _ITEM // row
    return StoredRows(key, (begin, begin + tensor.numel // row))
