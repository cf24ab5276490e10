"""The one place that knows CPU from CUDA: host buffers, transfers and free memory.

Everything else of the torch executor is the same on both.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from bmerge.errors import ExecutorError

__all__ = ["CpuDevice", "CudaDevice", "Device", "open_device"]

_SHARE = 0.8
"""Of the free GPU memory that is used; the rest is for the driver and fragmentation."""


class Device(Protocol):
    """Where a torch executor computes."""

    @property
    def torch(self) -> torch.device:
        """What torch calls it."""

    @property
    def part_elements(self) -> int:
        """How many elements to compute at once where it is not dictated by memory."""

    def budget(self, memory: int, vram: int | None) -> int:
        """Return the bytes that values under computation may take.

        Args:
            memory: budget of main memory.
            vram: budget of the device's own memory, or None for what is free.
        """

    def host_buffer(self, nbytes: int) -> Tensor:
        """Return uninitialised bytes in main memory that a file can be read into."""

    def upload(self, host: Tensor) -> Tensor:
        """Return the bytes of a host buffer on the device; they may be the same bytes."""

    def download(self, values: Tensor) -> Tensor:
        """Return values in main memory; all work that they come from is over."""


class CpuDevice:
    """Main memory."""

    torch = torch.device("cpu")
    # Values stay in the cache. Above this torch splits each operation among threads, and on a
    # busy machine their waiting for each other makes a merge thirty times slower.
    part_elements = 1 << 15

    def budget(self, memory: int, vram: int | None) -> int:
        """Return the budget of main memory."""
        del vram
        return memory

    def host_buffer(self, nbytes: int) -> Tensor:
        """Return bytes of main memory."""
        return torch.empty(nbytes, dtype=torch.uint8)

    def upload(self, host: Tensor) -> Tensor:
        """Return the same bytes."""
        return host

    def download(self, values: Tensor) -> Tensor:
        """Return the same values."""
        return values


class CudaDevice:  # pragma: no cover  needs a GPU; tests/executors/test_torch_cuda.py
    """A GPU.

    Args:
        name: ``cuda`` or ``cuda:N``.
    """

    part_elements = 1 << 25  # enough to keep any GPU busy

    def __init__(self, name: str) -> None:
        self.torch = torch.device(name)

    def budget(self, memory: int, vram: int | None) -> int:
        """Return the budget of GPU memory."""
        del memory
        free, _ = torch.cuda.mem_get_info(self.torch)
        return int(free * _SHARE) if vram is None else vram

    def host_buffer(self, nbytes: int) -> Tensor:
        """Return page-locked bytes: the GPU fetches them while the processor goes on."""
        return torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)

    def upload(self, host: Tensor) -> Tensor:
        """Start a transfer to the GPU."""
        return host.to(self.torch, non_blocking=True)

    def download(self, values: Tensor) -> Tensor:
        """Transfer from the GPU and wait for it."""
        return values.cpu()


def open_device(name: str) -> Device:
    """Return the device of that name.

    Args:
        name: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ExecutorError: if torch cannot use it.
    """
    if name == "cpu":
        return CpuDevice()
    index = int(name.partition(":")[2] or 0)
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        hint = "use --executor native, or --device cpu"
        raise ExecutorError(f"there is no device {name} that torch can use", hint=hint)
    return CudaDevice(name)  # pragma: no cover  needs a GPU
