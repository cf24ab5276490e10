"""The options ``device`` and ``precision``, which every scorer with a network has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmerge import ScorerError

if TYPE_CHECKING:
    import torch

__all__ = ["torch_device", "torch_dtype"]

_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def torch_device(wanted: str) -> str:
    """Return the device to use: CUDA where there is for ``auto``, else what is wanted.

    Raises:
        ScorerError: if there is no such device.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        raise ScorerError(f"the device {wanted!r} cannot be used") from error
    return wanted


def torch_dtype(precision: str) -> torch.dtype:
    """Return the type of numbers that ``fp32``, ``fp16`` or ``bf16`` stands for.

    Raises:
        ScorerError: if it is none of them.
    """
    import torch

    if precision not in _DTYPES:
        allowed = ", ".join(_DTYPES)
        raise ScorerError(f"precision is {precision!r}, must be one of {allowed}")
    dtype: torch.dtype = getattr(torch, _DTYPES[precision])
    return dtype
