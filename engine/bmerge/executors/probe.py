"""What this machine's accelerator has to offer, asked without importing torch in vain."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bmerge.extras import absent, install_line

__all__ = ["DeviceMemory", "DeviceProbe", "SystemProbe", "no_gpu"]

_SIGNS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Files of a GPU's driver: NVIDIA's own, Windows' for WSL, and AMD's, which torch calls cuda."""


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory of one CUDA device.

    Args:
        name: what the device calls itself.
        free: bytes that nobody uses now.
        total: bytes in all.
    """

    name: str
    free: int
    total: int


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
        free, total = torch.cuda.mem_get_info(index)
        return DeviceMemory(torch.cuda.get_device_name(index), free, total)


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
