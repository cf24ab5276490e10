"""Names and sizes of the number formats that a checkpoint can hold.

One layer above :mod:`bmerge.errors`. The canonical names are safetensors' tags; users may also
write torch's or the short ones (``fp16``, ``bfloat16``). Conversion itself happens in the
executors.
"""

from __future__ import annotations

from bmerge.errors import RecipeError, nearest

__all__ = ["BITS", "BLOCKS", "FLOATS", "SIZES", "TAGS", "canonical", "is_float", "nbytes_of"]

SIZES: dict[str, int] = {
    "BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8, "I64": 8,
    "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F16": 2, "BF16": 2, "F32": 4, "F64": 8,
    "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1, "C64": 8,
}  # fmt: skip
"""Bytes of one element, by safetensors tag; of those that are not part of a byte."""

BITS: dict[str, int] = {
    **{tag: 8 * size for tag, size in SIZES.items()}, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip
"""Bits of one element, by safetensors tag: all that the format knows."""

BLOCKS: dict[str, tuple[int, int]] = {
    "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34),
    "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210),
}  # fmt: skip
"""Elements and bytes of a block, by ggml's names of the types that only GGUF files have."""

FLOATS = frozenset({"F8_E4M3", "F8_E5M2", "F16", "BF16", "F32", "F64"})
"""The tags that can be merged; tensors of any other dtype are copied from the first model."""

TAGS: dict[str, str] = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0", "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ", "complex64": "C64",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
"""Name of a dtype in torch → safetensors tag."""

_ALIASES: dict[str, str] = {
    "fp64": "F64", "float64": "F64", "double": "F64",
    "fp32": "F32", "float32": "F32", "float": "F32",
    "fp16": "F16", "float16": "F16", "half": "F16",
    "bf16": "BF16", "bfloat16": "BF16",
    "fp8": "F8_E4M3", "fp8_e4m3": "F8_E4M3", "float8_e4m3fn": "F8_E4M3", "f8_e4m3": "F8_E4M3",
    "fp8_e4m3fn": "F8_E4M3", "fp8_e4m3fn_fast": "F8_E4M3", "float8_e4m3": "F8_E4M3",
    "fp8_e5m2": "F8_E5M2", "float8_e5m2": "F8_E5M2", "f8_e5m2": "F8_E5M2",
}  # fmt: skip


def canonical(name: str) -> str:
    """Return the safetensors tag of a float dtype that a user named.

    Args:
        name: a tag or an alias, in any case, with or without ``torch.``.

    Raises:
        RecipeError: if no float dtype has that name.
    """
    short = name.lower().removeprefix("torch.")
    tag = _ALIASES.get(short, name.upper())
    if tag not in FLOATS:
        known = sorted({*_ALIASES, *FLOATS})
        raise RecipeError(f"unknown dtype {name!r}", hint=nearest(name, known))
    return tag


def nbytes_of(tag: str, numel: int) -> int:
    """Return the bytes of so many elements; together they end with a byte, or with a block."""
    if tag in BLOCKS:
        elements, size = BLOCKS[tag]
        return numel // elements * size
    return BITS[tag] * numel // 8


def is_float(tag: str) -> bool:
    """Tell whether tensors with this safetensors tag are merged rather than copied."""
    return tag in FLOATS
