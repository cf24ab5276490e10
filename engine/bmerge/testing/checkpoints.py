"""Checkpoints for tests and benchmarks: true keys with tiny shapes, or true sizes streamed.

Headers are written and read here with plain Python, independently of the native core, so that
each can be held against the other. numpy only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bmerge.dtypes import SIZES
from bmerge.testing.layouts import Entry, Layout, sd1_layout, sdxl_layout, shrink

__all__ = [
    "decode",
    "encode",
    "read_checkpoint",
    "sd1_layout",
    "sdxl_layout",
    "tiny_sd1",
    "tiny_sdxl",
    "write_checkpoint",
    "write_random",
]

_NUMPY = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4",
    "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
_CHUNK = 1 << 22


def encode(array: Any, dtype: str) -> bytes:
    """Return an array's elements in a checkpoint's format, rounded to nearest even.

    Args:
        array: anything that numpy makes an array of.
        dtype: safetensors tag, except the F8 ones.
    """
    if dtype == "BF16":
        bits = np.ascontiguousarray(array, dtype="<f4").view("<u4")
        rounded = bits + (0x7FFF + ((bits >> 16) & 1))
        return bytes((rounded >> 16).astype("<u2").tobytes())
    return np.ascontiguousarray(array).astype(_NUMPY[dtype]).tobytes()


def decode(data: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return the array that :func:`encode` made bytes of; BF16 becomes float32."""
    if dtype == "BF16":
        bits = np.frombuffer(data, "<u2").astype("<u4") << 16
        return bits.view("<f4").reshape(shape)
    return np.frombuffer(data, _NUMPY[dtype]).reshape(shape)


def write_checkpoint(
    path: str | Path,
    tensors: Mapping[str, Any],
    *,
    dtype: str | Mapping[str, str] = "F32",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write arrays as a safetensors file, in their order.

    Args:
        path: the file to write.
        tensors: key → array.
        dtype: tag of all tensors, or key → tag (others F32); integer and boolean arrays keep
            their own.
        metadata: string map of the file.

    Returns:
        ``path``.
    """
    path = Path(path)
    arrays = {key: np.asarray(value) for key, value in tensors.items()}
    tags = {key: _tag(key, array, dtype) for key, array in arrays.items()}
    layout = [(key, tags[key], array.shape) for key, array in arrays.items()]
    with path.open("wb") as file:
        file.write(_header(layout, metadata or {}))
        for key, array in arrays.items():
            file.write(encode(array, tags[key]))
    return path


def read_checkpoint(path: str | Path) -> dict[str, np.ndarray[Any, Any]]:
    """Return all arrays of a safetensors file, in order of their position."""
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    entries = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    return {
        key: decode(
            data[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]],
            entry["dtype"],
            tuple(entry["shape"]),
        )
        for key, entry in entries
    }


def write_random(
    path: Path,
    layout: Layout,
    *,
    seed: int,
    scale: float = 0.02,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a file of a layout with normally distributed values, a few MB at a time.

    ``position_ids`` count from 0, other integers are 0. The same arguments give the same bytes.

    Args:
        path: the file to write.
        layout: what it holds.
        seed: of the values.
        scale: their standard deviation.
        metadata: string map of the file.

    Returns:
        ``path``.
    """
    with path.open("wb") as file:
        file.write(_header(layout, metadata or {}))
        for index, (key, dtype, shape) in enumerate(layout):
            generator = np.random.default_rng([seed, index])
            for count in _chunks(math.prod(shape)):
                file.write(encode(_values(key, dtype, count, generator, scale), dtype))
    return path


def tiny_sd1(path: Path, seed: int, dtype: str = "F16", **options: Any) -> Path:
    """Write a Stable Diffusion 1 checkpoint with all true keys and tiny shapes (0.3 MB).

    Args:
        path: the file to write.
        seed: of its values.
        dtype: of all weights.
        options: of :func:`sd1_layout`.

    Returns:
        ``path``.
    """
    return write_random(path, shrink(sd1_layout(dtype, **options)), seed=seed)


def tiny_sdxl(path: Path, seed: int, dtype: str = "F16") -> Path:
    """Write an SDXL checkpoint with all true keys and tiny shapes.

    Args:
        path: the file to write.
        seed: of its values.
        dtype: of all weights.

    Returns:
        ``path``.
    """
    return write_random(path, shrink(sdxl_layout(dtype)), seed=seed)


def _tag(key: str, array: np.ndarray[Any, Any], dtype: str | Mapping[str, str]) -> str:
    if array.dtype.kind in "iub":
        return next(tag for tag, name in _NUMPY.items() if np.dtype(name) == array.dtype)
    return dtype if isinstance(dtype, str) else dtype.get(key, "F32")


def _header(layout: Iterable[Entry], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors header, padded to 8 bytes."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for key, dtype, shape in layout:
        end = begin + math.prod(shape) * SIZES[dtype]
        header[key] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _chunks(count: int) -> Iterable[int]:
    yield from (min(_CHUNK, count - done) for done in range(0, count, _CHUNK))


def _values(
    key: str, dtype: str, count: int, generator: np.random.Generator, scale: float
) -> np.ndarray[Any, Any]:
    if dtype in {"F16", "BF16", "F32", "F64"}:
        return generator.standard_normal(count, dtype=np.float32) * np.float32(scale)
    return np.arange(count) if key.endswith("position_ids") else np.zeros(count)
