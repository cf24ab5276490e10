"""The choice of an executor, with its reason.

CUDA is taken where the largest tensor's working set fits the budget of GPU memory; otherwise
the native executor streams through little memory on the CPU. What was asked for and cannot be
had is an error, never something else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bmerge.errors import ExecutorError
from bmerge.executors.base import Executor
from bmerge.executors.native import NativeExecutor
from bmerge.executors.probe import DeviceMemory, DeviceProbe, SystemProbe
from bmerge.executors.working_set import largest_working_set
from bmerge.plan import Plan

__all__ = ["Choice", "DeviceMemory", "DeviceProbe", "ExecutorName", "choose_executor"]

ExecutorName: TypeAlias = Literal["auto", "native", "torch"]

_SHARE = 0.8
"""Of the free GPU memory that a merge may use; the rest is for the driver and fragmentation."""
_MEMORY = 64 << 20


@dataclass(frozen=True, slots=True)
class Choice:
    """An executor, and why it was chosen.

    Args:
        executor: ready to run.
        reason: one sentence without a full stop.
    """

    executor: Executor
    reason: str


def choose_executor(
    plan: Plan,
    *,
    executor: ExecutorName = "auto",
    device: str | None = None,
    memory: int = _MEMORY,
    vram: int | None = None,
    threads: int = 0,
    probe: DeviceProbe | None = None,
) -> Choice:
    """Choose what runs a plan.

    Args:
        plan: the merge.
        executor: ``native``, ``torch``, or ``auto`` to look at the GPU and decide.
        device: ``cpu``, ``cuda`` or ``cuda:N``; None leaves it to the choice.
        memory: budget in bytes of main memory for buffers.
        vram: budget in bytes of GPU memory; None takes 80 % of what is free.
        threads: of the native executor; 0 takes one per core.
        probe: tells what GPUs there are; None asks this machine.

    Raises:
        ExecutorError: if what was asked for cannot be had.
    """
    if device is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ExecutorError(f"unknown device {device!r}", hint="known: cpu, cuda, cuda:0, cuda:1 …")
    if executor == "native" or (executor == "auto" and device == "cpu"):
        return _native(device, NativeExecutor(memory, threads), asked=executor == "native")
    if device == "cpu":
        return Choice(_torch("cpu", memory), "torch on the CPU, as asked")
    budget = _budget(device, vram, probe or SystemProbe())
    if budget is None:
        return _without_gpu(executor, device, memory, threads)
    need = largest_working_set(plan)
    fits = need <= budget.bytes
    sizes = f"the largest tensor needs {_size(need)} and {budget.text}"
    if fits:
        return Choice(_torch(device or "cuda", memory, vram), f"torch on {budget.name}: {sizes}")
    if executor == "torch" and device is None:
        return Choice(_torch("cpu", memory), f"torch on the CPU: {sizes}")
    if device is not None:
        hint = "free GPU memory, raise --vram, or leave the choice to --executor auto"
        raise ExecutorError(f"the merge does not fit {device}: {sizes}", hint=hint)
    native = NativeExecutor(memory, threads)
    return Choice(native, f"native streaming on the CPU: {sizes}")


@dataclass(frozen=True, slots=True)
class _Budget:
    """GPU memory that may be used, and how to say it."""

    name: str
    bytes: int
    text: str


def _budget(device: str | None, vram: int | None, probe: DeviceProbe) -> _Budget | None:
    memory = probe.memory(device or "cuda")
    if memory is None:
        return None
    if vram is not None:
        return _Budget(memory.name, vram, f"{_size(vram)} of GPU memory is allowed")
    usable = int(memory.free * _SHARE)
    text = f"{_size(usable)} may be used of {_size(memory.free)} free on {memory.name}"
    return _Budget(memory.name, usable, text)


def _native(device: str | None, native: NativeExecutor, *, asked: bool) -> Choice:
    if device is not None and device != "cpu":
        message = f"the native executor runs on the CPU, not on {device}"
        raise ExecutorError(message, hint="use --executor torch for a GPU")
    why = "as asked" if asked else "the device asked for is the CPU"
    return Choice(native, f"native streaming: {why}")


def _without_gpu(executor: ExecutorName, device: str | None, memory: int, threads: int) -> Choice:
    if device is not None:
        message = f"there is no device {device} that torch can use"
        raise ExecutorError(message, hint="use --executor native, or --device cpu")
    if executor == "torch":
        return Choice(_torch("cpu", memory), "torch on the CPU: there is no CUDA device")
    native = NativeExecutor(memory, threads)
    return Choice(native, "native streaming: there is no CUDA device")


def _torch(device: str, memory: int, vram: int | None = None) -> Executor:
    """Make a torch executor; torch is imported here and not before."""
    from bmerge.executors.torch import TorchExecutor

    return TorchExecutor(device=device, memory=memory, vram=vram)


def _size(count: int) -> str:
    """Return a number of bytes for people."""
    size = float(count)
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
