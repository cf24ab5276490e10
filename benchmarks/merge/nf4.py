"""Models in bitsandbytes' NF4, which bmerge reads and does not write: random codes and scales."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np

from bmerge.dtypes import SIZES
from bmerge.testing.layouts import Layout

__all__ = ["write_nf4"]

_Entry: TypeAlias = tuple[str, str, tuple[int, ...], bytes]
"""Key, dtype, shape and contents, which are empty for random numbers."""

_BLOCK = 64
_CHUNK = 1 << 22
_LEVELS = (
    -1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0,
)  # fmt: skip


def write_nf4(path: Path, layout: Layout, *, seed: int) -> None:
    """Write a file of a layout with its matrices in NF4, and numbers without order.

    Args:
        path: the file to write.
        layout: what it holds; F16.
        seed: of the numbers.
    """
    generator = np.random.default_rng(seed)
    stored = [entry for key, _, shape in layout for entry in _stored(key, shape)]
    header, begin = {}, 0
    for key, dtype, shape, _ in stored:
        end = begin + math.prod(shape) * SIZES[dtype]
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, dtype, shape, contents in stored:
            file.write(contents)
            count = 0 if contents else math.prod(shape)
            for start in range(0, count, _CHUNK):
                file.write(_numbers(generator, dtype, min(_CHUNK, count - start)))


def _stored(key: str, shape: tuple[int, ...]) -> Iterator[_Entry]:
    """Yield what is stored of a tensor."""
    count = math.prod(shape)
    if len(shape) != 2 or count % _BLOCK:
        yield key, "F16", shape, b""
        return
    said = {"quant_type": "nf4", "blocksize": _BLOCK, "dtype": "float16", "shape": list(shape)}
    state, levels = json.dumps(said).encode(), np.asarray(_LEVELS, "<f4").tobytes()
    yield key, "U8", (count // 2, 1), b""
    yield f"{key}.absmax", "F32", (count // _BLOCK,), b""
    yield f"{key}.quant_map", "F32", (len(_LEVELS),), levels
    yield f"{key}.quant_state.bitsandbytes__nf4", "U8", (len(state),), state


def _numbers(generator: np.random.Generator, dtype: str, count: int) -> bytes:
    if dtype == "U8":
        return generator.bytes(count)
    if dtype == "F32":
        return generator.uniform(0.02, 0.08, count).astype("<f4").tobytes()
    return (0.02 * generator.standard_normal(count, np.float32)).astype("<f2").tobytes()
