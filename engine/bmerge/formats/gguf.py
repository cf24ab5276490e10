"""GGUF files: models of stable-diffusion.cpp, llama.cpp and ComfyUI-GGUF, mostly quantised.

The container is read as its specification has it (version 2 and 3, little endian): key-value
pairs, then what each tensor is and where it lies. Headers are untrusted: whatever would reach
beyond the file, lie across something else or overflow is refused. Extents are stored with the
innermost first, and come out in torch's order; a quantised tensor is the float tensor that it
stands for, see :mod:`.coded`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from bmerge.dtypes import BLOCKS, SIZES
from bmerge.errors import FormatError
from bmerge.formats.checkpoint import Checkpoint, Tensor, TensorInfo
from bmerge.formats.coded import Codec, CodedTensor
from bmerge.formats.gguf_rows import WOVEN, unwoven
from bmerge.formats.gguf_values import Bytes, GgufError, read_pairs

__all__ = ["MAGIC", "PLAIN", "QUANTISED", "SHAPE", "open_gguf"]

MAGIC = b"GGUF"
PLAIN = {0: "F32", 1: "F16", 30: "BF16", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64"}
"""Types whose elements lie one after another, and their tags."""
QUANTISED = {
    2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K",
}  # fmt: skip
"""Types of blocks, and their names in :data:`bmerge.dtypes.BLOCKS`."""
_OTHERS = {
    9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
    19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 34: "TQ1_0",
    35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}  # fmt: skip
_STANDS_FOR = "BF16"
"""What quantised tensors are written as: most such models were made of it."""
_MOST_DIMENSIONS = 8
_LARGEST = 1 << 60
_ALIGNMENT = 32
SHAPE = "comfy.gguf.orig_shape."
"""Before the name of a tensor: its true shape, where rows were too short for blocks."""
_CARRIED = {"general.architecture", "general.license"}


def open_gguf(path: Path, *, named: Path | None = None) -> Checkpoint:
    """Read the table of contents of a GGUF file.

    Args:
        path: the file.
        named: what the user called it, if that is something else (its folder).

    Raises:
        FormatError: if it cannot be read, is not sound, or has a type that cannot be decoded.
    """
    try:
        with path.open("rb") as file:
            data = Bytes(file, path.stat().st_size)
            pairs, tensors = _contents(data, path)
            tensors, pairs = _in_usual_order(tensors, pairs)
    except GgufError as error:
        raise FormatError(f"{path}: {error}", path=path) from error
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}", path=path) from error
    metadata = {
        name: text
        for name, text in pairs.items()
        if isinstance(text, str)
        and (name in _CARRIED or name.startswith(("bmerge.", "modelspec.")))
    }
    return Checkpoint(named or path, tensors, metadata)


def _contents(data: Bytes, path: Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    if data.take(4) != MAGIC:
        raise GgufError("not a GGUF file")
    version = data.number(4)
    if version not in {2, 3}:
        big = version in {2 << 24, 3 << 24}
        what = "written on a big-endian machine" if big else f"of version {version}, not 2 or 3"
        raise GgufError(f"a GGUF file {what}")
    count, entries = data.number(8), data.number(8)
    pairs = read_pairs(data, entries)
    alignment = pairs.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise GgufError(f"general.alignment is {alignment!r}, not a power of two")
    if count > data.size:
        raise GgufError(f"names {count} tensors, which it is too short for")
    rows = [_row(data) for _ in range(count)]
    begin = -(-data.at // alignment) * alignment
    tensors: dict[str, Tensor] = {}
    ends = []
    for name, shape, kind, offset in rows:
        if name in tensors:
            raise GgufError(f"two tensors are called {name!r}")
        tensor = _tensor(name, shape, kind, path, begin + offset)
        if offset % alignment or begin + offset + tensor.nbytes > data.size:
            raise GgufError(f"tensor {name!r} lies beyond the end, or not at a multiple of "
                            f"{alignment}")  # fmt: skip
        ends.append((offset, offset + tensor.nbytes, name))
        tensors[name] = _in_shape(tensor, pairs.get(SHAPE + name))
    _check_apart(ends)
    if not tensors:
        raise GgufError("holds no tensors")
    return pairs, tensors


def _in_usual_order(
    tensors: dict[str, Tensor], pairs: Mapping[str, Any]
) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Return what a file holds, with the names and rows that a model has elsewhere, if need be."""
    architecture = pairs.get("general.architecture")
    if architecture not in WOVEN or not any(name.startswith("blk.") for name in tensors):
        return tensors, pairs
    others = {name: value for name, value in pairs.items() if name != "general.architecture"}
    return unwoven(architecture, tensors, pairs), others


def _row(data: Bytes) -> tuple[str, tuple[int, ...], int, int]:
    """Read what one tensor is: name, shape in torch's order, type, offset."""
    name = data.text()
    dimensions = data.number(4)
    if dimensions > _MOST_DIMENSIONS:
        raise GgufError(f"tensor {name!r} has {dimensions} dimensions")
    extents = [data.number(8) for _ in range(dimensions)]
    if math.prod(extents) > _LARGEST or max(extents, default=0) > _LARGEST:
        raise GgufError(f"tensor {name!r} has more elements than there can be")
    return name, tuple(reversed(extents)), data.number(4), data.number(8)


def _tensor(name: str, shape: tuple[int, ...], kind: int, path: Path, begin: int) -> Tensor:
    numel = math.prod(shape)
    if kind in PLAIN:
        dtype = PLAIN[kind]
        return TensorInfo(name, dtype, shape, path, begin, numel * SIZES[dtype])
    if kind not in QUANTISED:
        label = _OTHERS.get(kind, f"type {kind}")
        raise GgufError(f"tensor {name!r} is of {label}, which bmerge does not decode")
    label = QUANTISED[kind]
    elements, size = BLOCKS[label]
    if not shape or shape[-1] % elements:
        raise GgufError(f"tensor {name!r} of {label} has rows that are not whole blocks")
    blocks = numel // elements
    codes = TensorInfo(name, "U8", (blocks * size,), path, begin, blocks * size)
    return CodedTensor(name, _STANDS_FOR, shape, label, Codec("ggml", (label, blocks)), (codes,))


def _in_shape(tensor: Tensor, shape: object) -> Tensor:
    """Return a tensor in the shape that it had before its rows were made of whole blocks."""
    if not isinstance(shape, list):
        return tensor
    if not all(isinstance(extent, int) and extent >= 0 for extent in shape) or (
        math.prod(shape) != tensor.numel
    ):
        raise GgufError(f"tensor {tensor.key!r} cannot have had the shape {shape}")
    return tensor.named(tensor.key, tuple(shape))


def _check_apart(ends: list[tuple[int, int, str]]) -> None:
    for one, other in pairwise(sorted(end for end in ends if end[0] < end[1])):
        if one[1] > other[0]:
            raise GgufError(f"tensors {one[2]!r} and {other[2]!r} lie across one another")
