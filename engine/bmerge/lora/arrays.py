"""Tensors of a file as numpy arrays in float32, whatever their number format."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bmerge.errors import FormatError
from bmerge.formats import (
    CodedTensor,
    ComposedTensor,
    Piece,
    Tensor,
    TensorInfo,
    elements_of,
    values_of,
)

__all__ = ["Array", "encode", "flat", "read_array"]

Array: TypeAlias = NDArray[np.float32]

_NUMPY = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "F8_E5M2": "u1", "F8_E4M3": "u1", "BF16": "<u2"}


def flat(array: Array) -> Array:
    """Return an array as a matrix: its rows, and all else as columns."""
    return array.reshape(array.shape[0] if array.ndim else 1, -1)


def read_array(info: Tensor) -> Array:
    """Read one tensor.

    Raises:
        FormatError: if it is of another dtype than floats, or the file has become shorter.
    """
    if isinstance(info, ComposedTensor):
        return np.concatenate(list(map(_read_piece, info.pieces))).reshape(info.shape)
    if isinstance(info, CodedTensor):
        return _decoded(info)
    if info.dtype not in _NUMPY:
        message = f"{info.file}: {info.key!r} is of the dtype {info.dtype}, not of floats"
        raise FormatError(message, path=info.file, key=info.key)
    stored = _stored(info, _NUMPY[info.dtype])
    return _decode(stored, info.dtype).reshape(info.shape)


def _decoded(info: CodedTensor) -> Array:
    """Return the values of codes."""
    from bmerge import _native

    try:
        return np.frombuffer(values_of(info), "<f4").reshape(info.shape)
    except _native.NativeError as error:
        raise FormatError(f"{info.file}: {error}", path=info.file, key=info.key) from error


def _read_piece(piece: Piece) -> Array:
    if isinstance(piece.tensor, TensorInfo):
        return read_array(elements_of(piece.tensor, piece.first, piece.count))
    return read_array(piece.tensor).reshape(-1)[piece.first : piece.first + piece.count]


def _stored(info: Tensor, dtype: str) -> NDArray[Any]:
    """Return a tensor's numbers as they are stored, flat."""
    assert isinstance(info, TensorInfo), info
    try:
        with info.file.open("rb", buffering=0) as file:
            file.seek(info.offset)
            data = np.fromfile(file, dtype, info.numel)
    except OSError as error:
        raise FormatError(f"{info.file}: {error.strerror}", path=info.file) from error
    if data.size < info.numel:
        message = f"{info.file} is shorter than it was: {info.key!r} ends beyond it"
        raise FormatError(message, path=info.file, key=info.key)
    return data


def encode(values: Array, dtype: str) -> bytes:
    """Return the bytes of values rounded to nearest even, as F16, BF16 or F32."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(values, "<f4").view("<u4")
        bits = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
        return bytes(bits.astype("<u2").data)
    return bytes(np.ascontiguousarray(values).astype(_NUMPY[dtype]).data)


def _decode(data: NDArray[Any], dtype: str) -> Array:
    if dtype in {"F32", "F64"}:
        return data.astype(np.float32, copy=False)
    from bmerge import _native

    values = np.empty(data.size, np.float32)
    _native.decode([data.data], (0, 0, dtype), values.data)
    return values
