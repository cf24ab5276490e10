"""Options that all plugins with a network have: where it computes, and with which numbers."""

from __future__ import annotations

from bmerge import BmergeError

__all__ = ["DTYPES", "usable_device"]

DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""Name of a type of numbers → what torch calls it."""


def usable_device(wanted: str, error: type[BmergeError]) -> str:
    """Return the device to use: CUDA where there is for ``auto``, else what is wanted.

    Args:
        wanted: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …
        error: what is raised if there is no such device.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as reason:  # torch asserts that it was built with CUDA
        raise error(f"the device {wanted!r} cannot be used") from reason
    return wanted
