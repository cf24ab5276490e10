"""From what lies beside the codes of a quantised weight to how it is decoded.

Part of :mod:`.quantised`, which finds them. What is not known for certain has no codec, and is
refused by the name of its format.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bmerge.formats.checkpoint import Tensor, TensorInfo
from bmerge.formats.coded import Codec, CodedTensor
from bmerge.formats.levels import STATE, is_shape, of_levels
from bmerge.formats.packed import of_words
from bmerge.formats.quantisation import EIGHT, ORIGINAL_SHAPE, POWERS, is_contradicted
from bmerge.formats.stored import read_bytes

__all__ = [
    "ASIDE",
    "SCALES",
    "SCALE_DTYPES",
    "coded_tensor",
    "rotation",
    "scale_of",
    "tiled_shape",
]

SCALES = ("weight_scale", "scale_weight", "weight_scale_inv", "scale", "weights_scaling_factor",
           "weight_quantizer._scale", "scale.weight", "weight_scale.weight")  # fmt: skip
"""Roles of what codes are multiplied by, the inverse of DeepSeek's among them."""
_OF_ACTIVATIONS = {
    "input_scale", "scale_input", "comfy_quant", "activation_scale", "activation_scaling_factor",
    "input_quantizer._amax", "input_quantizer._scale",
}  # fmt: skip
ASIDE = {
    *_OF_ACTIVATIONS, "weight_scale_2", "weight_format", "SCB", "pre_quant_scale",
    "weight_quantizer._amax",
}  # fmt: skip
"""Roles that are not a reason to refuse: they are seen to, or say nothing of the weight."""
_CODES = {"F8_E4M3": "E4M3", "F8_E5M2": "E5M2", "I8": "I8"}
SCALE_DTYPES = {"F32", "F16", "BF16", "F8_E4M3", "F8_E8M0"}
"""Number formats of scales."""
_STANDS_FOR = "BF16"
"""What a weight is written as if it is not quantised again: most such models were made of it."""
_TILE = (128, 4)
"""Rows and columns of scales that lie together, as cuBLAS takes them."""
_ROWS = 16
"""Padding adds fewer rows than this to nvfp4, and twice as many to mxfp8."""


def coded_tensor(
    codes: TensorInfo,
    roles: Mapping[str, TensorInfo],
    name: str,
    said: Mapping[str, Any],
    rows: int | None,
) -> Tensor | None:
    """Return a quantised weight as the float tensor that it stands for, or None.

    Args:
        codes: the tensor of codes.
        roles: role → what else belongs to it.
        name: what the format is called.
        said: what the file declares of it, in ComfyUI's way.
        rows: of the layer's bias, if it has one.

    Returns:
        The tensor: that of the codes itself, if they are numbers that are scaled by nothing; None
        if it is not known how they are decoded.

    Raises:
        FormatError: if a file has become shorter.
    """
    if any(role.startswith(STATE) for role in roles):
        return of_levels(codes, roles, name, _STANDS_FOR)
    if name in {"GPTQ", "AWQ"}:
        return of_words(codes, roles, name, _STANDS_FOR)
    if codes.dtype in EIGHT and roles.keys() <= _OF_ACTIVATIONS and not said:
        return codes
    known = roles.keys() <= {*SCALES, *ASIDE}
    known &= codes.key.rpartition(".")[2] == "weight"  # as the floats are called, too
    if not known or len(codes.shape) < 2 or codes.numel == 0:
        return None
    if "weight_scale_2" in roles or codes.dtype == "U8":
        return _of_nvfp4(codes, roles, name, said, rows)
    return _of_scales(codes, roles, name, said, rows)


def _of_scales(
    codes: TensorInfo,
    roles: Mapping[str, TensorInfo],
    name: str,
    said: Mapping[str, Any],
    rows: int | None,
) -> CodedTensor | None:
    """Return codes of 8 bits, or packed and rotated ones of 4, with scales of any spelling."""
    if codes.dtype not in _CODES or "pre_quant_scale" in roles:
        return None
    if "SCB" in roles:
        return _of_rows_of_127(codes, roles, name)
    scale = scale_of(roles)
    if scale is None or is_contradicted(said, scale):
        return None
    packed = said.get("format") == "convrot_w4a4"
    shape = (codes.shape[0], 2 * codes.shape[1]) if packed else codes.shape
    columns = math.prod(shape[1:])
    dtype = "F8_E8M0" if scale.dtype in POWERS else scale.dtype
    if dtype == "F8_E8M0" and (tiles := _tiles(codes.shape, scale, 32)):
        fitting = _fitting(said, rows, shape, 2 * _ROWS)
        return _tiled(codes, roles, name, (tiles, 32, dtype), scale, fitting)
    cells = _cells(shape[0], columns, scale)
    turned = rotation(said, packed=packed)
    if cells is None or dtype not in SCALE_DTYPES or (turned and columns % turned):
        return None
    sizes = (shape[0], columns, columns)
    code = "I4" if packed else _CODES[codes.dtype]
    codec = Codec("scaled", (code, sizes, ("grid", *cells), dtype, False, False, 1.0, turned))
    return _made(codes, shape, name, codec, (codes, scale), roles)


def _of_rows_of_127(
    codes: TensorInfo, roles: Mapping[str, TensorInfo], name: str
) -> CodedTensor | None:
    """Return bitsandbytes' int8: each row times its greatest magnitude / 127."""
    scale, rows, columns = roles["SCB"], codes.shape[0], math.prod(codes.shape[1:])
    ordered = "weight_format" in roles and any(read_bytes(roles["weight_format"]))
    if codes.dtype != "I8" or scale.numel != rows or scale.dtype != "F32" or ordered:
        return None
    cells = ("grid", 1, columns, 1)
    codec = Codec(
        "scaled", ("I8", (rows, columns, columns), cells, "F32", False, False, 1 / 127, None)
    )
    return _made(codes, codes.shape, name, codec, (codes, scale), roles)


def _of_nvfp4(
    codes: TensorInfo,
    roles: Mapping[str, TensorInfo],
    name: str,
    said: Mapping[str, Any],
    rows: int | None,
) -> CodedTensor | None:
    scale, of_all = roles.get("weight_scale"), roles.get("weight_scale_2")
    if scale is None or of_all is None or codes.dtype != "U8" or len(codes.shape) != 2:
        return None
    if (of_all.dtype, of_all.numel, scale.dtype) != ("F32", 1, "F8_E4M3"):
        return None
    shape = (codes.shape[0], 2 * codes.shape[1])
    tiles = _tiles(shape, scale, 16)
    if not tiles:
        return None
    fitting = _fitting(said, rows, shape, _ROWS)
    return _tiled(codes, roles, name, (tiles, 16, scale.dtype), scale, fitting)


def _tiled(
    codes: TensorInfo,
    roles: Mapping[str, TensorInfo],
    name: str,
    tiling: tuple[int, int, str],
    scale: TensorInfo,
    shape: tuple[int, ...],
) -> CodedTensor | None:
    """Return codes with scales in cuBLAS's tiles, of which ``shape`` is not padding."""
    tiles, block, dtype = tiling
    parts = [codes, scale]
    if "weight_scale_2" in roles:
        parts.append(roles["weight_scale_2"])
    factors = roles.get("pre_quant_scale")
    if factors is not None:
        if (factors.dtype, factors.numel) != ("F32", shape[1]):
            return None
        parts.append(factors)
    code, packed = ("E2M1", 2) if codes.dtype == "U8" else (_CODES[codes.dtype], 1)
    sizes, cells = (*shape, packed * codes.shape[1]), ("tiled", 0, block, tiles)
    whole = "weight_scale_2" in roles
    codec = Codec("scaled", (code, sizes, cells, dtype, whole, factors is not None, 1.0, None))
    return _made(codes, shape, name, codec, tuple(parts), roles)


def scale_of(roles: Mapping[str, TensorInfo]) -> TensorInfo | None:
    """Return what codes are multiplied by, of any spelling."""
    return next((roles[role] for role in SCALES if role in roles), None)


def _cells(rows: int, columns: int, scale: TensorInfo) -> tuple[int, int, int] | None:
    """Return rows and columns that share a scale, and scales side by side."""
    if scale.numel == 0:
        return None
    if scale.numel == 1:
        return rows, columns, 1
    down = scale.shape[0]
    across = math.prod(scale.shape[1:])
    if down == rows and across == 1:
        return 1, columns, 1
    for size in (128, 64):
        if (down, across) == (-(-rows // size), -(-columns // size)):
            return size, size, across
    if rows % down == 0 and columns % across == 0:
        return rows // down, columns // across, across
    return None


def _tiles(shape: tuple[int, ...], scale: TensorInfo, block: int) -> int:
    """Return how many tiles of scales are side by side; 0 if they are not in tiles."""
    fits = len(shape) == 2 and scale.shape == tiled_shape(shape[0], shape[1] // block)
    return scale.shape[1] // _TILE[1] if fits else 0


def tiled_shape(rows: int, blocks: int) -> tuple[int, int]:
    """Return the shape of scales in tiles: of so many rows with so many blocks each."""
    down, across = _TILE
    return -(-rows // down) * down, -(-blocks // across) * across


def _fitting(
    said: Mapping[str, Any], rows: int | None, shape: tuple[int, ...], padding: int
) -> tuple[int, ...]:
    """Return a shape without its padding, as far as the file or the layer's bias tells."""
    told = said.get(ORIGINAL_SHAPE)
    if is_shape(told) and len(told) == len(shape) == 2:
        fits = (
            whole - padding < extent <= whole for extent, whole in zip(told, shape, strict=True)
        )
        if all(fits):
            return tuple(told)
    if rows is None or not shape[0] - padding < rows <= shape[0]:
        return shape
    return (rows, *shape[1:])


def rotation(said: Mapping[str, Any], *, packed: bool) -> int | None:
    """Return the columns of a group that ConvRot has rotated; None if it has not."""
    inner = said.get("params")
    told = {**(inner if isinstance(inner, dict) else {}), **said}
    if not (told.get("convrot") or packed):
        return None
    size = told.get("convrot_groupsize", 256)
    return size if type(size) is int and 0 < size < 1 << 20 else 3  # 3: which the core refuses


def _made(
    codes: TensorInfo,
    shape: tuple[int, ...],
    name: str,
    codec: Codec,
    parts: tuple[TensorInfo, ...],
    roles: Mapping[str, TensorInfo],
) -> CodedTensor:
    others = tuple(sorted(roles.items()))
    return CodedTensor(codes.key, _STANDS_FOR, tuple(shape), name, codec, parts, others)
