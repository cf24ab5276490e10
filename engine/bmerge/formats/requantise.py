"""How a weight is written as codes with scales: the tensors that it becomes in a file.

Either as the first model has it, in its own spelling, or as ComfyUI writes a format today. Values
are those that loaders expect: see :mod:`.codecs` for how each is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal, TypeAlias

from bmerge.formats.coded import Codec, CodedTensor
from bmerge.formats.quantisation import ORIGINAL_SHAPE
from bmerge.formats.stored import read_bytes
from bmerge.records import dataclass

__all__ = [
    "FORMATS",
    "OF_INPUTS",
    "WEIGHT",
    "Format",
    "Quantised",
    "as_before",
    "as_like",
    "as_new",
]

Format: TypeAlias = Literal["fp8_scaled", "mxfp8", "nvfp4", "int8"]
FORMATS: tuple[Format, ...] = ("fp8_scaled", "mxfp8", "nvfp4", "int8")
_SAID = {"fp8_scaled": "float8_e4m3fn", "int8": "int8_tensorwise"}
_LIKE: Mapping[tuple[str, str], Format] = {
    ("E4M3", "grid"): "fp8_scaled", ("I8", "grid"): "int8", ("E4M3", "tiled"): "mxfp8",
    ("E2M1", "tiled"): "nvfp4",
}  # fmt: skip
"""Codes and how their scales lie → the format that ComfyUI writes so."""
_FLOATS = {"F32", "F16", "BF16"}
_MARKER = "scaled_fp8"
WEIGHT = "weight"
"""The last word of the key of what is quantised."""
OF_INPUTS = frozenset({"input_scale", "scale_input"})
"""Roles of what is known of a layer's inputs, which holds while its weight stays."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """What a weight becomes in a file; roles are names after that of the layer.

    Args:
        codec: how its elements are encoded.
        rows: of codes that are stored, padding included.
        parts: (role, dtype, shape) of codes, scales and, if there is one, the scale of the whole.
        marks: role → bytes that tell a loader the format.
        whole: key → (dtype, shape, bytes) of what tells it of a whole model.
    """

    codec: Codec
    rows: int
    parts: tuple[tuple[str, str, tuple[int, ...]], ...]
    marks: Mapping[str, bytes] = field(default_factory=dict)
    whole: Mapping[str, tuple[str, tuple[int, ...], bytes]] = field(default_factory=dict)


def as_before(tensor: CodedTensor) -> Quantised | None:
    """Return how a weight is written as a model has it; None if the format is only read.

    Raises:
        FormatError: if the file has become shorter.
    """
    if tensor.codec.name != "scaled" or tensor.key.rpartition(".")[2] != WEIGHT:
        return None
    code, _, (form, rows, *_), scale, whole, factors, factor, rotation = tensor.codec.parameters
    tiled = form == "tiled" and (code, scale, whole) in {
        ("E4M3", "F8_E8M0", False), ("E2M1", "F8_E4M3", True),
    }  # fmt: skip
    grid = form == "grid" and code in {"E4M3", "E5M2", "I8"} and scale in {*_FLOATS, "F8_E8M0"}
    turned = rotation is not None and rows > 1  # whose scales are of what is rotated
    if factors or factor != 1.0 or turned or not (tiled or grid):
        return None
    names = {info.key: role for role, info in tensor.others}
    parts = [
        (names.get(part.key, WEIGHT), part.dtype, part.shape)
        for part in tensor.parts
    ]  # fmt: skip
    others = dict(tensor.others)
    marks = {}
    if "comfy_quant" in others:
        marks["comfy_quant"] = read_bytes(others["comfy_quant"])
    elif tensor.declared:
        marks["comfy_quant"] = tensor.declared.encode()
    whole_model = {}
    if (marker := others.get(_MARKER)) is not None:
        whole_model[marker.key] = marker.dtype, marker.shape, read_bytes(marker)
    stored = tensor.parts[0].shape[0]
    return Quantised(tensor.codec, stored, tuple(parts), marks, whole_model)


def as_new(name: Format, shape: Sequence[int]) -> Quantised | None:
    """Return how a weight is written in ComfyUI's way; None if its shape does not fit the format.

    Args:
        name: the format.
        shape: of the weight.
    """
    if len(shape) != 2 or 0 in shape or (name == "nvfp4" and shape[1] % 2):
        return None
    rows, columns = shape
    marks = {"comfy_quant": json.dumps({"format": _SAID.get(name, name)}).encode()}
    if name in {"mxfp8", "nvfp4"}:
        return _in_tiles(name, rows, columns, marks)
    code, dtype = ("E4M3", "F8_E4M3") if name == "fp8_scaled" else ("I8", "I8")
    cells, scales = (
        ((rows, columns, 1), ()) if name == "fp8_scaled" else ((1, columns, 1), (rows, 1))
    )
    codec = _codec(code, (rows, columns, columns), ("grid", *cells), "F32")
    parts = ((WEIGHT, dtype, (rows, columns)), ("weight_scale", "F32", scales))
    return Quantised(codec, rows, parts, marks)


def as_like(tensor: CodedTensor, key: str, shape: Sequence[int]) -> Quantised | None:
    """Return how a weight is written that is made of parts of others.

    Args:
        tensor: one of these.
        key: of the weight.
        shape: of the weight.
    """
    if tensor.codec.name != "scaled" or key.rpartition(".")[2] != WEIGHT:
        return None
    code, _, (form, *_), *_ = tensor.codec.parameters
    name = _LIKE.get((code, form))
    return None if name is None else as_new(name, shape)


def _in_tiles(name: Format, rows: int, columns: int, marks: Mapping[str, bytes]) -> Quantised:
    """Return a format whose scales lie in tiles of 128 x 4, and whose matrices are padded."""
    four = name == "nvfp4"
    block, code, scale = (16, "E2M1", "F8_E4M3") if four else (32, "E4M3", "F8_E8M0")
    stored, stride = _up(rows, block), _up(columns, block)
    if (stored, stride) != (rows, columns):  # which nothing else in the file tells
        told = {"format": name, ORIGINAL_SHAPE: [rows, columns]}
        marks = {**marks, "comfy_quant": json.dumps(told).encode()}
    tiles = -(-(stride // block) // 4)
    codec = _codec(code, (rows, columns, stride), ("tiled", 0, block, tiles), scale, whole=four)
    codes = ("U8", (stored, stride // 2)) if four else ("F8_E4M3", (stored, stride))
    grid = _up(stored, 128), 4 * tiles
    # ComfyUI's own reader knows no powers of two: they are bytes to it.
    parts: list[tuple[str, str, tuple[int, ...]]] = [
        (WEIGHT, *codes),
        ("weight_scale", "F8_E4M3" if four else "U8", grid),
    ]
    parts += [("weight_scale_2", "F32", ())] if four else []
    return Quantised(codec, stored, tuple(parts), marks)


def _codec(
    code: str,
    sizes: tuple[int, int, int],
    cells: tuple[Any, ...],
    scale: str,
    *,
    whole: bool = False,
) -> Codec:
    return Codec("scaled", (code, sizes, cells, scale, whole, False, 1.0, None))


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
