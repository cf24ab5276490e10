"""Quantised weights, and what their formats are called, by how they lie in a file.

Part of :mod:`.quantised`, which finds them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Any

from bmerge.dtypes import BITS, FLOATS
from bmerge.formats.checkpoint import TensorInfo
from bmerge.records import dataclass

__all__ = [
    "CODES",
    "EIGHT",
    "METADATA",
    "ORIGINAL_SHAPE",
    "POWERS",
    "UNSOUND",
    "QuantisedWeight",
    "codes_said",
    "declared_name",
    "format_of",
    "is_as_declared",
    "is_contradicted",
    "is_packed",
]

EIGHT = frozenset({"F8_E4M3", "F8_E5M2"})
"""8-bit floats, which are plain values where no scale lies beside them."""
CODES = EIGHT | (BITS.keys() - FLOATS - {"BOOL", "I64", "C64"})
"""Number formats of codes: those that nothing computes with, but for masks and places."""
_PACKED = (
    r"qweight|q_weight|weight_packed|packed_weight|W_q|_?weight_qdata|\w+:qdata|trellis|Qidxs"
    r"|(?:int|quanti[sz]ed|quant)_weight|weight_u?int\d"
)
"""Names that only codes have."""
METADATA = "_quantization_metadata"
"""Where a header says what layers are quantised, in ComfyUI's way."""

ORIGINAL_SHAPE = "orig_shape"
"""What bmerge's files say of a padded matrix beside its format; other readers leave it alone."""
_DECLARED = {
    "float8_e4m3fn": "scaled fp8",
    "float8_e5m2": "scaled fp8",
    "int8_tensorwise": "int8",
}
_SAID_CODES = (
    ("float8_e4m3fn", "F8_E4M3"), ("float8_e5m2", "F8_E5M2"), ("mxfp8", "F8_E4M3"), ("nvfp4", "U8"),
    ("int8", "I8"), ("convrot_w4a4", "I8"),
)  # fmt: skip
"""How names of formats start in ComfyUI's way, and the number format of the codes."""
_OF_POWERS = "mxfp8"
UNSOUND = "a format of ComfyUI"
"""What a format is called that is declared, but not in words."""
_OF_ROLES = {
    "absmax": "bitsandbytes, 4 bits",
    "quant_map": "bitsandbytes, 4 bits",
    "SCB": "bitsandbytes int8",
    "wscales": "SVDQuant",
    "weight_smooth_factor": "SVDQuant",
    "weight_proj_down": "SVDQuant",
    "weight_global_scale": "nvfp4",
    "weight_scale_2": "nvfp4",
    "weight_zeros": "awq_w4a16",
    "weight_s_rel": "asym_w4a8_int8",
}
_OF_NAMES = {
    "weight_packed": "compressed-tensors",
    "packed_weight": "packed codes",
    "W_q": "HQQ",
    "_weight_qdata": "torchao",
    "weight_qdata": "torchao",
    "weight:qdata": "torchao",
    "_data": "quanto",
    "q_weight": "EXL2",
    "trellis": "EXL3",
    "Qidxs": "QuIP#",
    "codes": "AQLM",
    "indices": "VPTQ",
}
POWERS = frozenset({"U8", "F8_E8M0"})
"""Number formats of scales that are powers of two."""


@dataclass(frozen=True, slots=True)
class QuantisedWeight:
    """A weight that is stored as codes.

    Args:
        format: what the format is called, for example ``nvfp4``.
        codes: the tensor of codes.
        companions: role → what else it takes to know the weight's values.
        said: what the file declares of it in ComfyUI's way; empty if it does not.
    """

    format: str
    codes: TensorInfo
    companions: Mapping[str, TensorInfo]
    said: Mapping[str, Any] = field(default_factory=dict)


def declared_name(said: Any) -> str:
    """Return what a format is called that a file declares in ComfyUI's way.

    Args:
        said: what it says of a layer, parsed: ``{"format": …}`` if it is sound.
    """
    if not isinstance(said, dict) or not isinstance(said.get("format"), str):
        return UNSOUND
    said_name: str = said["format"]
    name = _DECLARED.get(said_name, said_name)
    inner = said.get("params")
    turned = said.get("convrot") or (isinstance(inner, dict) and inner.get("convrot"))
    return f"{name} with ConvRot" if turned and "convrot" not in name else name


def is_packed(leaf: str) -> bool:
    """Tell whether only codes have such a name: the last word of a key."""
    return re.fullmatch(_PACKED, leaf) is not None


def is_as_declared(codes: TensorInfo, name: str, said: Mapping[str, Any]) -> bool:
    """Tell whether codes are those of the format that a file declares, if it declares one.

    What is declared in other words than are known here, or is not what lies there, would be decoded
    otherwise by whoever wrote it.

    Args:
        codes: the tensor of codes.
        name: what the format is called, from :func:`declared_name` if it is declared.
        said: what the file says of the layer, as far as it is sound.
    """
    if not said:
        return name != UNSOUND
    return codes.dtype == codes_said(str(said.get("format")))


def codes_said(told: str) -> str | None:
    """Return the number format of codes of a declared format; None if it is not known."""
    return next((dtype for start, dtype in _SAID_CODES if told.startswith(start)), None)


def is_contradicted(said: Mapping[str, Any], scale: TensorInfo) -> bool:
    """Tell whether 8-bit floats have a scale that the format that a file declares has not.

    Args:
        said: what the file says of the layer.
        scale: of its weight.
    """
    told = str(said.get("format"))
    eight = codes_said(told) in EIGHT
    return eight and told.startswith(_OF_POWERS) != (scale.dtype in POWERS)


def format_of(codes: TensorInfo, leaf: str, companions: Mapping[str, TensorInfo]) -> str:
    """Return what the format of a quantised weight is called.

    Args:
        codes: the tensor of codes.
        leaf: last word of its key.
        companions: role → what lies beside it.
    """
    return _of_roles(companions) or _of_leaf(codes, leaf, companions)


def _of_roles(roles: Collection[str]) -> str | None:
    """Return what lies beside codes of one format only."""
    state = next((role for role in roles if role.startswith("quant_state.")), None)
    if state is not None:
        return f"bitsandbytes {state.rpartition('__')[2]}"
    return next((name for role, name in _OF_ROLES.items() if role in roles), None)


def _of_leaf(codes: TensorInfo, leaf: str, companions: Mapping[str, TensorInfo]) -> str:
    if leaf == "qweight":
        return _of_qweight(codes, companions)
    if leaf.endswith("_blocks"):
        return "mxfp4"
    return _OF_NAMES.get(leaf) or _of_scales(codes, companions)


def _of_qweight(codes: TensorInfo, companions: Mapping[str, TensorInfo]) -> str:
    """Tell apart what has the same names: rows are packed in GPTQ, columns in AWQ."""
    scales = companions.get("scales")
    if scales is not None and len(scales.shape) == len(codes.shape) == 2:
        return "GPTQ" if scales.shape[1] == codes.shape[1] else "AWQ"
    return "GPTQ" if "g_idx" in companions else "packed codes"


def _of_scales(codes: TensorInfo, companions: Mapping[str, TensorInfo]) -> str:
    scale = next((info for role, info in companions.items() if _is_of_weight(role)), None)
    powers = scale is not None and scale.dtype in POWERS
    if not companions and codes.dtype not in EIGHT:
        return f"{codes.dtype} codes without scales"
    if codes.dtype not in EIGHT:
        if codes.dtype == "U8":
            return "mxfp4" if powers else "packed codes with scales"
        return "int8" if codes.dtype == "I8" else f"{codes.dtype} codes with scales"
    if powers:
        return "mxfp8"
    if scale is None or scale.numel == 1:
        return "scaled fp8"
    blocks = len(scale.shape) > 1 and min(scale.shape[:2]) > 1
    return "fp8 with a scale per block" if blocks else "fp8 with a scale per row"


def _is_of_weight(role: str) -> bool:
    return "scale" in role and not role.startswith(("input", "output", "act", "pre", "scale_input"))
