"""Options that all plugins with a network have: where it computes, and with which numbers.

And the memory that there is where it computes.
"""

from __future__ import annotations

from bmerge import BmergeError
from bmerge_plugins.batches import MemoryGauge

__all__ = ["DTYPES", "memory_of", "usable_device"]

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


def memory_of(device: str) -> MemoryGauge | None:
    """Return the memory of a device that tells of it: of CUDA alone."""
    return _CudaMemory(device) if device.startswith("cuda") else None


class _CudaMemory:
    """The memory of a graphics card: what torch has put by counts as free."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._before = 0

    def free(self) -> int:
        """Return how many bytes can be taken."""
        from torch import cuda

        put_by = cuda.memory_reserved(self._device) - cuda.memory_allocated(self._device)
        return int(cuda.mem_get_info(self._device)[0]) + put_by

    def watch(self) -> None:
        """Begin to watch how many are taken."""
        from torch import cuda

        cuda.reset_peak_memory_stats(self._device)
        self._before = cuda.memory_allocated(self._device)

    def taken(self) -> int:
        """Return the most bytes that were taken at once since then."""
        from torch import cuda

        return int(cuda.max_memory_allocated(self._device)) - self._before
