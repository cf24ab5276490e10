"""The options ``device`` and ``precision``, which every scorer with a network has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmerge import ScorerError
from bmerge_plugins.torch_options import DTYPES, usable_device

if TYPE_CHECKING:
    import torch

__all__ = ["torch_device", "torch_dtype"]


def torch_device(wanted: str) -> str:
    """Return the device to use: CUDA where there is for ``auto``, else what is wanted.

    Raises:
        ScorerError: if there is no such device.
    """
    return usable_device(wanted, ScorerError)


def torch_dtype(precision: str) -> torch.dtype:
    """Return the type of numbers that ``fp32``, ``fp16`` or ``bf16`` stands for.

    Raises:
        ScorerError: if it is none of them.
    """
    import torch

    if precision not in DTYPES:
        allowed = ", ".join(DTYPES)
        raise ScorerError(f"precision is {precision!r}, must be one of {allowed}", blame="study")
    dtype: torch.dtype = getattr(torch, DTYPES[precision])
    return dtype
