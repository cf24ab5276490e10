"""Weights of bitsandbytes in 4 bits: which of 16 levels each is, times the scale of its block.

Part of :mod:`.codecs`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeGuard

from bmerge.dtypes import TAGS
from bmerge.errors import FormatError
from bmerge.formats.checkpoint import TensorInfo
from bmerge.formats.coded import Codec, CodedTensor
from bmerge.formats.stored import read_bytes

__all__ = ["LIST", "NESTED_LIST", "STATE", "is_shape", "is_size", "of_levels", "read_state"]

STATE = "quant_state.bitsandbytes__"
"""How the role of a tensor starts that tells how codes were made."""
LIST, NESTED_LIST = 16, 256
"""How many levels there are, and how many of scales that are codes themselves."""


def of_levels(
    codes: TensorInfo, roles: Mapping[str, TensorInfo], name: str, dtype: str
) -> CodedTensor | None:
    """Return a weight of bitsandbytes in 4 bits as the float tensor that it stands for, or None.

    Args:
        codes: the tensor of codes.
        roles: role → what else belongs to it.
        name: what the format is called.
        dtype: what it stands for, unless it is told.
    """
    state = read_state(next(info for role, info in roles.items() if role.startswith(STATE)))
    absmax, levels = roles.get("absmax"), roles.get("quant_map")
    shape, block = state.get("shape"), state.get("blocksize")
    if absmax is None or levels is None or not (is_shape(shape) and is_size(block)):
        return None
    elements, nested, parts = math.prod(shape), None, [codes, absmax, levels]
    if absmax.dtype == "U8":
        extra = [roles.get("nested_absmax"), roles.get("nested_quant_map")]
        size, offset = state.get("nested_blocksize"), state.get("nested_offset")
        if None in extra or not is_size(size) or not isinstance(offset, float):
            return None
        nested = (size, offset)
        parts += [info for info in extra if info is not None]
    blocks = -(-elements // block)
    wanted = [(absmax, blocks)]
    if nested is not None:
        wanted = [(parts[3], -(-blocks // nested[0])), (parts[4], NESTED_LIST)]
    if any((info.dtype, info.numel) != ("F32", count) for info, count in wanted):
        return None
    if absmax.numel != blocks:
        return None
    listed = levels.numel == LIST and levels.dtype == "F32"
    if not listed or codes.nbytes < (elements + 1) // 2:
        return None
    tag = TAGS.get(str(state.get("dtype")), dtype)
    codec = Codec("levels", (elements, block, nested))
    others = tuple(sorted(roles.items()))
    return CodedTensor(codes.key, tag, tuple(shape), name, codec, tuple(parts), others)


def read_state(info: TensorInfo) -> dict[str, Any]:
    """Return the JSON that a tensor of :data:`STATE` holds; an empty one if it does not."""
    try:
        state = json.loads(read_bytes(info, 1 << 16))
    except (ValueError, RecursionError, FormatError):
        return {}
    return state if isinstance(state, dict) else {}


def is_size(value: Any) -> TypeGuard[int]:
    """Tell whether this is a whole number that a tensor may have of something."""
    return type(value) is int and 0 < value < 1 << 40


def is_shape(value: Any) -> TypeGuard[list[int]]:
    """Tell whether this is a list of such numbers."""
    return isinstance(value, list) and all(map(is_size, value))
