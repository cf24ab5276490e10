"""Computing a tensor with LoRAs on it: the stored values plus the sum of all changes.

Everything is float32. All changes are of the stored tensor, so their order does not matter.
With DoRA (Liu et al., 2024, arXiv:2402.09353) the changed weight's vectors get lengths of their
own: W' = m * (W + change) / ||W + change||, and what is weighted is W' - W, as in LyCORIS.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bmerge.errors import FormatError
from bmerge.formats import ComposedTensor, Piece, Tensor, TensorInfo, elements_of, rows_of
from bmerge.lora.arrays import Array, flat, read_array
from bmerge.lora.bands import is_mixed, write_bands
from bmerge.lora.changes import Change
from bmerge.lora.lengths import are_of_rows
from bmerge.lora.names import Turn
from bmerge.lora.networks import change_of
from bmerge.lora.patched import PatchedTensor
from bmerge.lora.peft_changes import ByRows, peft_change
from bmerge.lora.reparametrised import change_of_weight
from bmerge.lora.scale import bias_scale_of, scale_of

__all__ = ["float_blocks", "patched_blocks", "write_floats"]

_BLOCK = 1 << 19
"""Elements that are computed at once, where rows do not depend on each other."""


def write_floats(tensor: Tensor, out: BinaryIO) -> None:
    """Write the values of any tensor, however it is stored, as float32.

    Raises:
        FormatError: as :func:`patched_blocks` does.
    """
    if isinstance(tensor, PatchedTensor) and tensor.numel > _BLOCK and is_mixed(tensor):
        write_bands(tensor, out)
    else:
        out.writelines(block.data for block in float_blocks(tensor))


def float_blocks(tensor: Tensor) -> Iterator[Array]:
    """Yield the values of any tensor, however it is stored, some at a time.

    Raises:
        FormatError: as :func:`patched_blocks` does.
    """
    if isinstance(tensor, PatchedTensor):
        yield from patched_blocks(tensor)
    elif isinstance(tensor, ComposedTensor):
        for piece in tensor.pieces:
            yield from _piece_blocks(piece)
    else:
        for begin in range(0, tensor.numel, _BLOCK):
            yield read_array(elements_of(tensor, begin, min(_BLOCK, tensor.numel - begin)))


def _piece_blocks(piece: Piece) -> Iterator[Array]:
    if isinstance(piece.tensor, TensorInfo):
        yield from float_blocks(elements_of(piece.tensor, piece.first, piece.count))
        return
    done, end = 0, piece.first + piece.count
    for block in float_blocks(piece.tensor):
        yield block.reshape(-1)[max(piece.first - done, 0) : max(end - done, 0)]
        done += block.size


def patched_blocks(info: PatchedTensor) -> Iterator[Array]:
    """Yield the values of a tensor with its changes, some rows at a time.

    Whole are computed those alone whose changes are not made by rows.

    Raises:
        FormatError: if a file cannot be read, or DoRA's lengths are not those of its layer.
    """
    if info.numel <= _BLOCK or not all(map(_is_by_rows, info.changes)):
        yield _whole(info)
        return
    changes = [(change.place.rows, _by_rows(change, info.shape)) for change in info.changes]
    rows = info.shape[0]
    step = max(1, _BLOCK * rows // info.numel)
    for begin in range(0, rows, step):
        end = min(begin + step, rows)
        values = read_array(rows_of(info.base, info.key, begin, end))
        stored = flat(values).copy()
        for place, change in changes:
            first, last = place or (0, rows)
            low, high = max(begin, first), min(end, last)
            if low < high:
                own = slice(low - begin, high - begin)
                with np.errstate(over="ignore", invalid="ignore"):
                    flat(values)[own] += change(low - first, stored[own])
        yield values


def _whole(info: PatchedTensor) -> Array:
    stored = _widened(read_array(info.base), info.channels)
    modules = [change.module for change in info.changes]
    again = len(modules) > 1 and any(each.needs_weight for each in modules)
    values = stored.copy() if again else stored
    for change in info.changes:
        first, last = change.place.rows or (0, len(stored) if stored.ndim else 1)
        before = stored[first:last] if stored.ndim else stored
        target = values[first:last] if values.ndim else values
        if change.channels is not None:
            before, target = before[:, : change.channels], target[:, : change.channels]
        with np.errstate(over="ignore", invalid="ignore"):  # the merge refuses what is not finite
            target += _delta(change, before)
    return values


def _widened(values: Array, channels: int | None) -> Array:
    """Return values with so many columns, those that are new as zeros."""
    if channels is None:
        return values
    wide = np.zeros((len(values), channels, *values.shape[2:]), "f4")
    wide[:, : values.shape[1]] = values
    return wide


def _is_by_rows(change: Change) -> bool:
    """Tell whether a change is a product of two factors, or of a network that PEFT alone writes."""
    module = change.module
    product = {"up", "down"} <= module.tensors.keys() and "mid" not in module.tensors
    whole = change.channels is None and not change.place.turn
    return (product or module.is_of_peft) and whole and not (change.is_bias or module.magnitude)


def _by_rows(change: Change, shape: tuple[int, ...]) -> ByRows:
    """Return what gives a change, times its weight, of some of the rows that it is for."""
    module, first = change.module, (change.place.of or (0,))[0]
    if module.is_of_peft:
        begin, end = change.place.rows or (0, shape[0])
        made = peft_change(module, end - begin, math.prod(shape[1:]))
        weight = np.float32(change.weight)
        return lambda row, before: made(first + row, before) * weight
    up, down = (flat(read_array(module.tensors[role])) for role in ("up", "down"))
    up *= np.float32(change.weight * scale_of(module))
    return lambda row, before: up[first + row : first + row + len(before)] @ down


def _delta(change: Change, before: Array) -> NDArray[Any]:
    """Return the change of the rows that it is for, in their shape."""
    module, turn = change.module, change.place.turn
    weight, magnitude = np.float32(change.weight), module.magnitude
    if module.is_of_peft:
        as_trained = _turned(before, turn)
        added = _by_rows(change, as_trained.shape)(0, flat(as_trained))
        return _turned(added.reshape(as_trained.shape), turn)
    if change.is_bias and module.scales_bias:
        return change_of_weight(module, before).reshape(before.shape) * weight
    if change.is_bias:
        assert module.bias is not None
        scale = np.float32(change.weight * bias_scale_of(module))
        return _turned(read_array(module.bias).reshape(before.shape) * scale, turn)
    if module.value is not None:
        # in float64, so that what is set at a weight of 1 is what is stored
        value = read_array(module.value).reshape(before.shape)
        return (_turned(value, turn).astype("f8") - before) * change.weight
    if module.reparametrised:
        delta = change_of_weight(module, _turned(before, turn))
        delta *= weight if magnitude is None else 1
    else:
        delta = change_of(module, change.weight if magnitude is None else 1.0)
    if change.place.of is not None:
        delta = delta[slice(*change.place.of)]
    as_trained = _turned(before, turn)
    delta = delta.reshape(as_trained.shape)
    if magnitude is not None:
        delta = _decomposed(magnitude, as_trained, delta) - as_trained
        delta *= weight
    return _turned(delta, turn)


def _turned(values: Array, turn: Turn) -> Array:
    """Turn a stored tensor as the layer was trained, or what is of such a layer back."""
    if turn == "transposed":
        return values.T
    return np.roll(values, len(values) // 2, axis=0) if turn == "halves swapped" else values


def _decomposed(info: Tensor, before: Array, delta: Array) -> Array:
    """Return the changed weight with its rows or columns at the lengths that DoRA learned."""
    lengths = read_array(info)
    after = before + delta
    rows, columns = after.shape[0], after.shape[1]
    by_rows = are_of_rows(info, rows, columns)
    if by_rows is None:
        message = f"{info.file}: {info.key!r} has {lengths.size} lengths for {rows} x {columns}"
        raise FormatError(message, path=info.file, key=info.key)
    others = tuple(axis for axis in range(after.ndim) if axis != (0 if by_rows else 1))
    norm = np.sqrt(np.sum(np.square(after, dtype=np.float64), axis=others, keepdims=True))
    shape = [1] * after.ndim
    shape[0 if by_rows else 1] = math.prod(info.shape)
    scale = lengths.reshape(shape) / (norm + np.finfo(np.float32).eps)
    after *= scale
    return after
