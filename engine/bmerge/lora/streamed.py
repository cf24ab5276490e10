"""Changes that the native core adds to a tensor while it reads it, a few rows at a time.

Those are products of two factors (LoRA), of two such products (LoHa), Kronecker products (LoKr) and
differences that are stored as they are, each with or without lengths for its vectors (DoRA).
A factor with a core or another order of its elements, or another number of input channels is
computed by :mod:`.patch` instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bmerge.dtypes import SIZES, is_float
from bmerge.formats import ComposedTensor, Tensor, TensorInfo, native_input, pieces_of
from bmerge.lora.changes import Change
from bmerge.lora.lengths import are_of_rows
from bmerge.lora.modules import Module
from bmerge.lora.patched import PatchedTensor
from bmerge.lora.scale import bias_scale_of, scale_of

__all__ = ["files_of", "is_streamed", "streamed_input"]

Kind: TypeAlias = Literal["one", "elementwise", "kronecker"]
Factor: TypeAlias = tuple[Tensor, ...]
"""One matrix, or two that are multiplied; what is beyond the first dimension are columns."""

_CORES = {"mid", "hada_t1", "hada_t2", "lokr_t2", "embedding_up"}


def is_streamed(tensor: Tensor) -> bool:
    """Tell whether the core can compute a tensor that LoRAs are on, or on a part of it."""
    patched = (piece.tensor for piece in pieces_of(tensor))
    some = (each for each in patched if isinstance(each, PatchedTensor) and each.numel)
    return all(_form(change, each.shape) is not None for each in some for change in each.changes)


def files_of(tensor: Tensor) -> Iterator[Path]:
    """Yield the files that computing a tensor reads, those of LoRAs too; some more than once."""
    yield from tensor.files
    for piece in pieces_of(tensor):
        if isinstance(piece.tensor, PatchedTensor):
            for change in piece.tensor.changes:
                yield from (info.file for info in change.module.tensors.values())


def streamed_input(tensor: Tensor, source: Callable[[Path], int]) -> Any:
    """Return a tensor of :func:`is_streamed` as the core takes an input of a job.

    Args:
        tensor: LoRAs are on it, or on some of its pieces.
        source: file → its number.
    """
    if isinstance(tensor, ComposedTensor):
        pieces = tensor.pieces
        return [(streamed_input(each.tensor, source), each.first, each.count) for each in pieces]
    if not isinstance(tensor, PatchedTensor):
        return native_input(tensor, source)
    changes = [raw for change in tensor.changes for raw in _changes(change, tensor.shape, source)]
    rows = _rows(tensor.shape)
    base = native_input(tensor.base, source)
    return "patched", base, rows, tensor.numel // max(rows, 1), changes


def _rows(shape: tuple[int, ...]) -> int:
    return shape[0] if shape else 1


def _form(change: Change, shape: tuple[int, ...]) -> tuple[Kind, tuple[Factor, ...]] | None:
    """Return how a change is made of stored matrices, or None if the core cannot do it."""
    module, turn = change.module, change.place.turn
    if turn == "transposed":
        return None
    if _has_lengths(change) and _by_rows(change, shape) is None:
        return None
    if change.place.of is not None or change.channels is not None:
        return None
    found = _bias(module) if change.is_bias else _weight(module)
    if found is None or (turn and found[0] == "kronecker"):
        return None
    plain = (
        isinstance(info, TensorInfo) and is_float(info.dtype)
        for factor in found[1]
        for info in factor
    )
    return found if all(plain) else None


def _has_lengths(change: Change) -> bool:
    return change.module.magnitude is not None and not change.is_bias


def _by_rows(change: Change, shape: tuple[int, ...]) -> bool | None:
    """Tell whether DoRA's lengths are those of rows; None if the core cannot give them."""
    info = change.module.magnitude
    if not isinstance(info, TensorInfo) or not is_float(info.dtype):
        return None
    begin, end = change.place.rows or (0, _rows(shape))
    if len(shape) < 2 or change.place.turn:
        return None
    return are_of_rows(info, end - begin, shape[1])


def _bias(module: Module) -> tuple[Kind, tuple[Factor, ...]] | None:
    return None if module.bias is None else ("one", ((module.bias,),))


def _weight(module: Module) -> tuple[Kind, tuple[Factor, ...]] | None:
    tensors = module.tensors
    if _CORES & tensors.keys():
        return None
    if "up" in tensors:
        return "one", ((tensors["up"], tensors["down"]),)
    if "hada_w1_a" in tensors:
        pairs = [(tensors[f"hada_w{i}_a"], tensors[f"hada_w{i}_b"]) for i in (1, 2)]
        return "elementwise", tuple(pairs)
    if module.network == "LoKr":
        return "kronecker", tuple(_kronecker(module, f"lokr_w{i}") for i in (1, 2))
    stored = tensors.get("diff", tensors.get("w_norm"))
    return None if stored is None else ("one", ((stored,),))


def _kronecker(module: Module, name: str) -> Factor:
    whole = module.tensors.get(name)
    if whole is not None:
        return (whole,)
    return module.tensors[f"{name}_a"], module.tensors[f"{name}_b"]


def _changes(
    change: Change, shape: tuple[int, ...], source: Callable[[Path], int]
) -> Iterator[Any]:
    """Yield a change as the core takes it; one whose halves are swapped are two."""
    form = _form(change, shape)
    assert form is not None, "asked before"
    kind, factors = form
    scale = (bias_scale_of if change.is_bias else scale_of)(change.module)
    lengths = None
    if _has_lengths(change):
        info = change.module.magnitude
        assert isinstance(info, TensorInfo), "asked before"
        by_rows = bool(_by_rows(change, shape))
        raw = source(info.file), info.offset, info.dtype, info.numel
        lengths = (*raw, by_rows, change.weight)
    else:
        scale *= change.weight
    begin, end = change.place.rows or (0, _rows(shape))
    half = (end - begin) // 2
    parts = [(begin, 0, end - begin)]
    if change.place.turn == "halves swapped":
        parts = [(begin, end - begin - half, half), (begin + half, 0, end - begin - half)]
    for place, first, count in parts:
        cut = None if kind == "kronecker" else (first, count)
        parted = [_factor(factor, cut, source) for factor in factors]
        yield place, place + count, scale, kind, parted, lengths


def _factor(factor: Factor, cut: tuple[int, int] | None, source: Callable[[Path], int]) -> Any:
    """Return a factor, of its rows only some: the first of them, and how many."""
    raw = []
    for number, info in enumerate(factor):
        assert isinstance(info, TensorInfo), info
        rows = info.shape[0] if info.shape else 1
        columns = math.prod(info.shape[1:])
        first, count = (0, rows) if cut is None or number else cut
        offset = info.offset + first * columns * SIZES[info.dtype]
        raw.append((source(info.file), offset, info.dtype, count, columns))
    return raw
