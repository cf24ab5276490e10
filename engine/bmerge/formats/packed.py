"""GPTQ and AWQ: whole numbers in words of 32 bits, with the columns of a weight as rows.

Part of :mod:`.codecs`. How many bits a number has follows from the shapes. What no tensor tells is
whether one is taken from stored zeros (GPTQ's first version, and nearly all files) or not: the
settings that lie beside the file say so.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bmerge.formats.checkpoint import TensorInfo
from bmerge.formats.coded import Codec, CodedTensor
from bmerge.formats.stored import read_bytes

__all__ = ["of_words"]

_WORD = 32
_BITS = {2, 4, 8}
_OF_AWQ = {4, 8}
_SCALES = {"F16", "BF16", "F32"}
_ROLES = {"qzeros", "scales", "g_idx"}
_WORDS = {"I32", "U32"}
_SETTINGS = ("quantize_config.json", "config.json")
_LARGEST = 1 << 20
_SECOND = "gptq_v2"


def of_words(
    codes: TensorInfo, roles: Mapping[str, TensorInfo], name: str, dtype: str
) -> CodedTensor | None:
    """Return packed numbers as the weight that they stand for; None if they are not sound.

    Args:
        codes: ``qweight``.
        roles: role → what lies beside it.
        name: ``GPTQ`` or ``AWQ``.
        dtype: what the weight is written as.

    Raises:
        FormatError: if a file has become shorter.
    """
    sizes = _sizes(codes, roles, name)
    if sizes is None:
        return None
    bits, rows, columns = sizes
    zeros, scales = roles["qzeros"], roles["scales"]
    groups = scales.shape[0]
    size = -(-columns // groups)
    listed = _listed(roles.get("g_idx"), groups, columns, size)
    if listed is None:
        return None
    of_awq = name == "AWQ"
    zero = 0 if of_awq or _is_second(codes.file) else 1
    words = "rows" if of_awq else "columns"
    group = -groups if listed else size
    codec = Codec("packed", (bits, (rows, columns), words, group, scales.dtype, zero))
    key = codes.key.removesuffix("qweight") + "weight"
    parts = codes, zeros, scales, *listed
    others = tuple(sorted(roles.items()))
    return CodedTensor(key, dtype, (rows, columns), name, codec, parts, others)


def _sizes(
    codes: TensorInfo, roles: Mapping[str, TensorInfo], name: str
) -> tuple[int, int, int] | None:
    """Return bits of a number, rows and columns of the weight; None if parts do not fit."""
    zeros, scales = roles.get("qzeros"), roles.get("scales")
    if zeros is None or scales is None or not roles.keys() <= _ROLES:
        return None
    if {codes.dtype, zeros.dtype} - _WORDS or scales.dtype not in _SCALES:
        return None
    shapes = codes.shape, zeros.shape, scales.shape
    if any(len(shape) != 2 or 0 in shape for shape in shapes):
        return None
    (down, across), (groups, _), (_, rows) = shapes
    bits = _WORD * zeros.shape[1] // rows
    if bits not in (_OF_AWQ if name == "AWQ" else _BITS):
        return None
    each = _WORD // bits
    columns, stored = (down, rows // each) if name == "AWQ" else (down * each, rows)
    fits = across == stored and zeros.shape[1] * each == rows and scales.shape[0] == groups
    return (bits, rows, columns) if fits and groups <= columns else None


def _listed(
    order: TensorInfo | None, groups: int, columns: int, size: int
) -> tuple[TensorInfo, ...] | None:
    """Return what lists the group of each column, if they are not in order; None if it is wrong."""
    if order is None:
        return ()
    if order.dtype not in _WORDS or order.shape != (columns,):
        return None
    numbers = array("i", read_bytes(order))
    if not 0 <= min(numbers) <= max(numbers) < groups:
        return None
    in_order = all(number == place // size for place, number in enumerate(numbers))
    return () if in_order else (order,)


def _is_second(file: Path) -> bool:
    """Tell whether settings beside a file say that zeros are stored as they are."""
    return any(each.get("checkpoint_format") == _SECOND for each in _settings(file.parent))


def _settings(folder: Path) -> Iterator[Mapping[str, Any]]:
    for name in _SETTINGS:
        path = folder / name
        try:
            if not path.is_file() or path.stat().st_size > _LARGEST:
                continue
            settings = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(settings, dict):
            inner = settings.get("quantization_config")
            yield from (each for each in (settings, inner) if isinstance(each, dict))
