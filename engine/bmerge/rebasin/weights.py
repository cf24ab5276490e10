"""Tensors as they lie in files, put into another order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bmerge.dtypes import SIZES
from bmerge.formats import Tensor, read_bytes, runs_of, values_of
from bmerge.rebasin.structure import Order
from bmerge.rebasin.wiring import Axis

__all__ = ["dtype_of", "floats", "in_order", "raw"]

_AS_IT_IS: Mapping[str, Order] = {}


def dtype_of(info: Tensor) -> str:
    """Return what a tensor's elements are read as: weights of codes are decoded to float32."""
    return info.dtype if runs_of(info) is not None else "F32"


def raw(info: Tensor) -> np.ndarray[Any, Any]:
    """Return a tensor's elements as unsigned integers of the size that they are read in.

    Raises:
        FormatError: if its file cannot be read.
    """
    dtype = np.dtype(f"<u{SIZES[dtype_of(info)]}")
    stored = runs_of(info) is not None
    data = bytearray(read_bytes(info)) if stored else values_of(info)
    return np.frombuffer(data, dtype).reshape(info.shape)


def floats(
    info: Tensor,
    axes: tuple[Axis, ...] = (),
    orders: Mapping[str, Order] = _AS_IT_IS,
    *,
    rows: int = 0,
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a tensor's values in another order, as rows.

    Args:
        info: where it lies.
        axes: what its axes run over.
        orders: see :func:`in_order`.
        rows: the axis that becomes the first; all others become the second.
    """
    import torch

    from bmerge.executors.codec import decode

    # What is moved about are the bits: they are half as large in most files.
    bits = np.ascontiguousarray(np.moveaxis(in_order(raw(info), axes, orders), rows, 0))
    data = torch.from_numpy(bits.reshape(-1).view(np.uint8))
    values: np.ndarray[Any, np.dtype[np.float32]] = decode(data, dtype_of(info)).numpy()
    return values.reshape(len(bits), -1)


def in_order(
    array: np.ndarray[Any, Any], axes: tuple[Axis, ...], orders: Mapping[str, Order]
) -> np.ndarray[Any, Any]:
    """Return an array with its axes in other orders.

    Args:
        array: the elements.
        axes: what each axis runs over, from the first.
        orders: space → for each place the channel that comes there; others stay as they are.
    """
    for dim, axis in enumerate(axes):
        if any(segment.space in orders for segment in axis):
            array = array.take(_index(axis, orders), axis=dim)
    return array


def _index(axis: Axis, orders: Mapping[str, Order]) -> Order:
    """Return for each place of an axis where on it its new channel is."""
    parts, begin = [], 0
    for segment in axis:
        places = np.arange(segment.length)
        if segment.space in orders:
            order = orders[segment.space][segment.start : segment.start + segment.length]
            places = order - segment.start
        parts.append(places + begin)
        begin += segment.length
    return np.concatenate(parts)
