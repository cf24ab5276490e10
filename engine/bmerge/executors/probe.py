"""What this machine's accelerator has to offer, asked without importing torch in vain."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bmerge.extras import absent, install_line
from bmerge.records import dataclass

if TYPE_CHECKING:
    import torch

__all__ = ["DeviceMemory", "DeviceProbe", "SystemProbe", "memory_of", "no_gpu"]

_SHARE = 0.8
"""Of the free memory that a merge may use; the rest is for the driver and fragmentation."""

_SIGNS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Files of a GPU's driver: NVIDIA's own, Windows' for WSL, and AMD's, which torch calls cuda."""


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory of one CUDA device.

    Args:
        name: what the device calls itself.
        free: bytes that nobody uses now, or this process's torch alone, to have them at hand.
        total: bytes in all.
    """

    name: str
    free: int
    total: int

    @property
    def usable(self) -> int:
        """Bytes that a merge may use."""
        return int(self.free * _SHARE)


class DeviceProbe(Protocol):
    """Tells what CUDA devices there are; replaced in tests."""

    def memory(self, device: str) -> DeviceMemory | None:
        """Return the memory of ``cuda`` or ``cuda:N``; None if there is no such device."""


class SystemProbe:
    """Asks the machine, and torch only if there is a driver."""

    def memory(self, device: str) -> DeviceMemory | None:
        """Return the memory of ``cuda`` or ``cuda:N``; None if there is no such device."""
        if not _has_driver() or absent(("torch",)):
            return None
        import torch

        index = int(device.partition(":")[2] or 0)
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            return None
        return memory_of(torch.device("cuda", index))


def memory_of(device: torch.device) -> DeviceMemory:
    """Return the memory of a CUDA device that is there."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    # After a merge torch keeps the memory that it had: the next one of a study gets it again.
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return DeviceMemory(torch.cuda.get_device_name(device), free + idle, total)


def no_gpu() -> str:
    """Return why no GPU is used where the probe finds none, as a sentence says it."""
    if _has_driver() and absent(("torch",)):
        return f"a GPU is only used by torch ({install_line(('torch',))})"
    return "there is no CUDA device"


def _has_driver() -> bool:
    if os.name == "nt":
        import shutil

        return shutil.which("nvidia-smi") is not None
    return any(Path(sign).exists() for sign in _SIGNS)
