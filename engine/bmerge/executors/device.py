"""The one place that knows CPU from CUDA: host buffers, transfers and free memory.

Everything else of the torch executor is the same on both.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from bmerge.errors import ExecutorError
from bmerge.executors.memory import AHEAD
from bmerge.executors.probe import memory_of
from bmerge.records import dataclass

__all__ = ["CpuDevice", "CudaDevice", "Device", "Downloaded", "PendingTransfer", "open_device"]


class PendingTransfer(Protocol):
    """A transfer to main memory that may still go on."""

    def result(self) -> Tensor:
        """Wait for the values, and for all work that they come from."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """Values that are in main memory already."""

    values: Tensor

    def result(self) -> Tensor:
        """Return the values."""
        return self.values


class Device(Protocol):
    """Where a torch executor computes."""

    @property
    def torch(self) -> torch.device:
        """What torch calls it."""

    @property
    def part_elements(self) -> int:
        """How many elements to compute at once where it is not dictated by memory."""

    @property
    def ahead(self) -> int:
        """How many parts are started before the results of one are waited for."""

    def budget(self, memory: int, vram: int | None) -> int:
        """Return the bytes that values under computation may take.

        Args:
            memory: budget of main memory.
            vram: budget of the device's own memory, or None for what is free.
        """

    def host_buffer(self, nbytes: int) -> Tensor:
        """Return uninitialised bytes in main memory that a file can be read into."""

    def upload(self, host: Tensor) -> Tensor:
        """Return the bytes of a host buffer on the device; they may be the same bytes.

        What is computed with them from now on waits for them, what was before does not.
        """

    def download(self, values: Tensor) -> PendingTransfer:
        """Start to bring values to main memory once they are computed."""


class CpuDevice:
    """Main memory."""

    torch = torch.device("cpu")
    # Values stay in the cache. Above this torch splits each operation among threads, and on a
    # busy machine their waiting for each other makes a merge thirty times slower.
    part_elements = 1 << 15
    ahead = 0

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

    def download(self, values: Tensor) -> PendingTransfer:
        """Return the same values."""
        return Downloaded(values)


class CudaDevice:  # pragma: no cover  needs a GPU; tests/executors/test_torch_cuda.py
    """A GPU: transfers in both directions go on while it computes, each on a stream of its own.

    Args:
        name: ``cuda`` or ``cuda:N``.
    """

    part_elements = 1 << 25  # enough to keep any GPU busy
    ahead = AHEAD

    def __init__(self, name: str) -> None:
        self.torch = torch.device(name)
        self._up = torch.cuda.Stream(self.torch)  # type: ignore[no-untyped-call]
        self._down = torch.cuda.Stream(self.torch)  # type: ignore[no-untyped-call]

    def budget(self, memory: int, vram: int | None) -> int:
        """Return the budget of GPU memory."""
        del memory
        return memory_of(self.torch).usable if vram is None else vram

    def host_buffer(self, nbytes: int) -> Tensor:
        """Return page-locked bytes: the GPU fetches them while the processor goes on."""
        return torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)

    def upload(self, host: Tensor) -> Tensor:
        """Start a transfer to the GPU."""
        with torch.cuda.stream(self._up):
            values = host.to(self.torch, non_blocking=True)
        computing = torch.cuda.current_stream(self.torch)
        computing.wait_stream(self._up)
        # The allocator must not give the memory to the next transfer while it is computed with.
        values.record_stream(computing)
        return values

    def download(self, values: Tensor) -> PendingTransfer:
        """Start a transfer from the GPU."""
        self._down.wait_stream(torch.cuda.current_stream(self.torch))
        with torch.cuda.stream(self._down):
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            host.copy_(values, non_blocking=True)
            values.record_stream(self._down)
            return _CudaDownload(host, self._down.record_event())


@dataclass(frozen=True, slots=True)
class _CudaDownload:  # pragma: no cover  needs a GPU
    host: Tensor
    over: torch.cuda.Event

    def result(self) -> Tensor:
        self.over.synchronize()
        return self.host


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
