"""Computing a tensor with LoRAs on it: the stored values plus the sum of all changes.

Everything is float32. All changes are of the stored tensor, so their order does not matter.
With DoRA (Liu et al., 2024, arXiv:2402.09353) the changed weight's vectors get lengths of their
own: W' = m * (W + change) / ||W + change||, and what is weighted is W' - W, as in LyCORIS.
"""

from __future__ import annotations

import math

import numpy as np

from bmerge.errors import FormatError
from bmerge.formats import TensorInfo
from bmerge.lora.apply import Change, PatchedTensor
from bmerge.lora.arrays import Array, read_array
from bmerge.lora.networks import change_of

__all__ = ["patched_values"]


def patched_values(info: PatchedTensor) -> Array:
    """Return the values of a tensor with its changes.

    Raises:
        FormatError: if a file cannot be read, or DoRA's lengths are not those of its layer.
    """
    stored = read_array(TensorInfo(*(getattr(info, name) for name in TensorInfo.__slots__)))
    again = len(info.changes) > 1 and any(change.module.magnitude for change in info.changes)
    values = stored.copy() if again else stored
    for change in info.changes:
        first, last = change.place.rows or (0, len(stored) if stored.ndim else 1)
        before = stored[first:last] if stored.ndim else stored
        target = values[first:last] if values.ndim else values
        target += _delta(change, before)
    return values


def _delta(change: Change, before: Array) -> Array:
    """Return the change of the rows that it is for, in their shape."""
    weight, magnitude = np.float32(change.weight), change.module.magnitude
    if change.is_bias:
        assert change.module.bias is not None
        return read_array(change.module.bias).reshape(before.shape) * weight
    delta = change_of(change.module, change.weight if magnitude is None else 1.0)
    if change.place.turn == "transposed":
        delta = delta.T
    elif change.place.turn == "halves swapped":
        delta = np.roll(delta, len(delta) // 2, axis=0)
    delta = delta.reshape(before.shape)
    if magnitude is None:
        return delta
    delta = _decomposed(magnitude, before, delta) - before
    delta *= weight
    return delta


def _decomposed(info: TensorInfo, before: Array, delta: Array) -> Array:
    """Return the changed weight with its rows or columns at the lengths that DoRA learned."""
    lengths = read_array(info)
    after = before + delta
    rows, columns = after.shape[0], after.shape[1]
    by_rows = lengths.size == rows and (
        info.shape[0] == rows or rows != columns or info.key.endswith("magnitude_vector")
    )
    if not by_rows and lengths.size != columns:
        message = f"{info.file}: {info.key!r} has {lengths.size} lengths for {rows} x {columns}"
        raise FormatError(message, path=info.file, key=info.key)
    others = tuple(axis for axis in range(after.ndim) if axis != (0 if by_rows else 1))
    norm = np.sqrt(np.sum(np.square(after, dtype=np.float64), axis=others, keepdims=True))
    shape = [1] * after.ndim
    shape[0 if by_rows else 1] = math.prod(info.shape)
    scale = lengths.reshape(shape) / (norm + np.finfo(np.float32).eps)
    after *= scale
    return after
