"""What is wrong with the parts of a quantised weight that should be decoded and cannot be.

Imported when :mod:`.codecs` has refused a weight, or a merge has met NaN: a line that names the
part, as whoever made or carried the file needs it. What lies there in a format that is not decoded
at all has nothing wrong with it.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from bmerge.formats.checkpoint import ComposedTensor, Tensor, TensorInfo
from bmerge.formats.codecs import (
    ASIDE,
    SCALE_DTYPES,
    SCALES,
    rotation,
    scale_of,
    tiled_shape,
)
from bmerge.formats.coded import CodedTensor, values_of
from bmerge.formats.levels import LIST, NESTED_LIST, STATE, is_shape, is_size, read_state
from bmerge.formats.quantisation import (
    EIGHT,
    METADATA,
    POWERS,
    UNSOUND,
    QuantisedWeight,
    codes_said,
    is_contradicted,
)
from bmerge.formats.stored import read_bytes

__all__ = ["damage_of", "nonfinite_scale"]

_SCALED = EIGHT | {"I8", "U8"}
_NESTED = ("nested_absmax", "nested_quant_map")
_WORDS, _OF_WORDS = ("I32", "U32"), ("F16", "BF16", "F32")
"""Number formats of what is packed in words, and of its scales."""
_NOT_FINITE_POWER = 255


def damage_of(weight: QuantisedWeight) -> str | None:
    """Return what is wrong with a weight that is not decoded; None if its format is not known."""
    return next(_faults(weight.codes, weight.companions, weight.format, weight.said), None)


def nonfinite_scale(tensor: Tensor) -> TensorInfo | None:
    """Return the first part of a tensor, beside its codes, that holds NaN or infinity.

    Raises:
        NativeError: if a file cannot be read or has become shorter.
    """
    if isinstance(tensor, ComposedTensor):
        found = (nonfinite_scale(piece.tensor) for piece in tensor.pieces)
        return next((part for part in found if part is not None), None)
    if not isinstance(tensor, CodedTensor) or tensor.codec.name == "packed":
        return None  # whose zeros are whole numbers
    return next((part for part in tensor.parts[1:] if not _is_finite(part)), None)


def _is_finite(part: TensorInfo) -> bool:
    if part.dtype in POWERS:
        return _NOT_FINITE_POWER not in read_bytes(part)
    return all(map(math.isfinite, array("f", bytes(values_of(part)))))


def _faults(
    codes: TensorInfo, roles: Mapping[str, TensorInfo], name: str, said: Mapping[str, Any]
) -> Iterator[str]:
    yield from _of_declaration(codes, roles, name, said)
    if said and codes_said(str(said.get("format"))) is None:
        return
    leaf = codes.key.rpartition(".")[2]
    state = any(role.startswith(STATE) for role in roles)
    if state or {"absmax", "quant_map"} <= roles.keys():
        yield from _of_levels(codes, roles)
    elif leaf == "qweight" and {"qzeros", "scales"} & roles.keys():
        yield from _of_words(codes, roles)
    elif leaf == "weight" and codes.dtype in _SCALED and roles.keys() <= {*SCALES, *ASIDE}:
        if "weight_scale_2" in roles or codes.dtype == "U8":
            yield from _of_nvfp4(codes, roles)
        else:
            yield from _of_scales(codes, roles, said)


def _of_declaration(
    codes: TensorInfo, roles: Mapping[str, TensorInfo], name: str, said: Mapping[str, Any]
) -> Iterator[str]:
    where = _declaration(roles)
    if name == UNSOUND:
        yield f"{where} names no format"
    told = said.get("format")
    wanted = codes_said(str(told))
    if wanted is not None and codes.dtype != wanted:
        yield f"{where} says {told!r}, whose codes are {wanted}, but {_is(codes)}"
    scale = scale_of(roles)
    if scale is not None and is_contradicted(said, scale):
        yield f"{where} says {told!r}, but {_is(scale)}"


def _of_scales(
    codes: TensorInfo, roles: Mapping[str, TensorInfo], said: Mapping[str, Any]
) -> Iterator[str]:
    if "weight_format" in roles and "SCB" not in roles:
        yield f"{_beside(codes, 'SCB')} is missing"
    if "SCB" in roles:
        yield from _differs(roles["SCB"], ("F32",), codes.shape[:1])
        return
    scale = scale_of(roles)
    if scale is None:
        yield f"{_beside(codes, 'weight_scale')} is missing"
        return
    if scale.dtype not in {*SCALE_DTYPES, *POWERS}:
        yield f"{_is(scale)}, which no scale is"
    packed = said.get("format") == "convrot_w4a4"
    columns = math.prod(codes.shape[1:]) * (2 if packed else 1)
    group = rotation(said, packed=packed)
    if scale.dtype == "U8":
        yield from _differs(scale, ("U8",), tiled_shape(codes.shape[0], columns // 32))
    if group is not None and columns % group:
        yield f"{_declaration(roles)} rotates groups that {columns} columns are not made of"
    fitting = "one number, one for each row, or a grid of them"
    yield f"{_has(scale)}, but {_has(codes)}, which takes {fitting}"


def _of_nvfp4(codes: TensorInfo, roles: Mapping[str, TensorInfo]) -> Iterator[str]:
    for role in ("weight_scale", "weight_scale_2"):
        if role not in roles:
            yield f"{_beside(codes, role)} is missing"
    if {"weight_scale", "weight_scale_2"} <= roles.keys():
        if codes.dtype != "U8":
            yield f"{_is(codes)}; codes with two scales are U8"
        rows, columns = codes.shape[0], 2 * math.prod(codes.shape[1:])
        yield from _differs(roles["weight_scale_2"], ("F32",), ())
        yield from _differs(roles["weight_scale"], ("F8_E4M3",), tiled_shape(rows, columns // 16))
        if "pre_quant_scale" in roles:
            yield from _differs(roles["pre_quant_scale"], ("F32",), (columns,))


def _of_levels(codes: TensorInfo, roles: Mapping[str, TensorInfo]) -> Iterator[str]:
    state = next((info for role, info in roles.items() if role.startswith(STATE)), None)
    if state is None:
        yield f"'{codes.key}.{STATE}…' is missing"
        return
    nested = roles["absmax"].dtype == "U8" if "absmax" in roles else False
    for role in ("absmax", "quant_map", *(_NESTED if nested else ())):
        if role not in roles:
            yield f"'{codes.key}.{role}' is missing"
    told = read_state(state)
    shape, block = told.get("shape"), told.get("blocksize")
    if not (shape and is_shape(shape)):
        yield f"{state.key!r} does not tell the shape"
        return
    if not is_size(block):
        yield f"{state.key!r} does not tell the size of blocks"
        return
    elements = math.prod(shape)
    if codes.nbytes < (elements + 1) // 2:
        yield f"{state.key!r} tells a shape of {shape}, but {_has(codes)}"
    blocks = -(-elements // block)
    yield from _differs(roles["absmax"], ("F32", "U8"), (blocks,))
    yield from _differs(roles["quant_map"], ("F32",), (LIST,))
    size = told.get("nested_blocksize")
    if not nested:
        return
    if not (is_size(size) and isinstance(told.get("nested_offset"), float)):
        yield f"{state.key!r} does not tell how its scales are nested"
    else:
        yield from _differs(roles["nested_absmax"], ("F32",), (-(-blocks // size),))
        yield from _differs(roles["nested_quant_map"], ("F32",), (NESTED_LIST,))


def _of_words(codes: TensorInfo, roles: Mapping[str, TensorInfo]) -> Iterator[str]:
    for role in ("qzeros", "scales"):
        if role not in roles:
            yield f"{_beside(codes, role)} is missing"
    if not {"qzeros", "scales"} <= roles.keys():
        return
    zeros, scales, order = roles["qzeros"], roles["scales"], roles.get("g_idx")
    for info, dtypes in ((codes, _WORDS), (zeros, _WORDS), (scales, _OF_WORDS)):
        if info.dtype not in dtypes:
            yield f"{_is(info)}, not {' or '.join(dtypes)}"
    if scales.shape[:1] != zeros.shape[:1] or order is None:
        yield f"{_has(scales)}, but {_has(zeros)} and {_has(codes)}"
    else:
        yield f"{order.key!r} has not a group of {scales.key!r} for each column"


def _differs(info: TensorInfo, dtypes: tuple[str, ...], shape: tuple[int, ...]) -> Iterator[str]:
    """Yield how a part is not of a number format and as many numbers as it takes."""
    if info.dtype not in dtypes:
        yield f"{_is(info)}, not {' or '.join(dtypes)}"
    two = len(shape) > 1 and info.shape != shape
    if two or info.numel != math.prod(shape):
        wanted = list(shape) if shape else "one number"
        yield f"{_has(info)}; the weight takes {wanted}"


def _declaration(roles: Mapping[str, TensorInfo]) -> str:
    own = roles.get("comfy_quant")
    return f"{METADATA!r} of the header" if own is None else repr(own.key)


def _beside(codes: TensorInfo, role: str) -> str:
    return repr(f"{codes.key.rpartition('.')[0]}.{role}")


def _is(info: TensorInfo) -> str:
    return f"{info.key!r} is {info.dtype}"


def _has(info: TensorInfo) -> str:
    return f"{info.key!r} has shape {list(info.shape)}"
