"""The choice of an executor, with its reason.

CUDA is taken where the largest tensor's working set fits the budget of GPU memory; otherwise
the native executor streams through little memory on the CPU, unless only torch can run the plan.
What was asked for and cannot be had is an error, never something else.
"""

from __future__ import annotations

import re
from dataclasses import replace

from bmerge.errors import ExecutorError
from bmerge.executors.base import Executor
from bmerge.executors.native import NativeExecutor, program_of
from bmerge.executors.options import ExecutorName, ExecutorOptions
from bmerge.executors.probe import DeviceMemory, DeviceProbe, SystemProbe, no_gpu
from bmerge.extras import require
from bmerge.plan import Plan
from bmerge.records import dataclass

__all__ = ["ChosenExecutor", "DeviceMemory", "DeviceProbe", "choose_executor"]

_NOTHING_ASKED = ExecutorOptions()


@dataclass(frozen=True, slots=True)
class ChosenExecutor:
    """An executor, and why it was chosen.

    Args:
        executor: ready to run.
        reason: one sentence without a full stop.
    """

    executor: Executor
    reason: str


def choose_executor(
    plan: Plan, *, options: ExecutorOptions = _NOTHING_ASKED, probe: DeviceProbe | None = None
) -> ChosenExecutor:
    """Choose what runs a plan.

    Args:
        plan: the merge.
        options: what was asked for.
        probe: tells what GPUs there are; None asks this machine.

    Raises:
        ExecutorError: if what was asked for cannot be had.
        MissingExtraError: if only torch can run the plan, or it is asked for, and is not installed.
    """
    chosen = _choose(plan, options, probe)
    idle = _idle(chosen.executor, options)
    if not idle:
        return chosen
    return replace(chosen, reason=f"{chosen.reason}; not used: {', '.join(idle)}")


def _idle(executor: Executor, options: ExecutorOptions) -> list[str]:
    """Return which of the options were asked for that an executor has no use for."""
    foreign = () if isinstance(executor, NativeExecutor) else ("threads", "io")
    if "cuda" not in executor.name:
        foreign = (*foreign, "vram")
    return [name for name in foreign if getattr(options, name) is not None]


def _choose(plan: Plan, options: ExecutorOptions, probe: DeviceProbe | None) -> ChosenExecutor:
    executor, device, vram = options.executor or "auto", options.device, options.vram
    if device is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise ExecutorError(f"unknown device {device!r}", hint="known: cpu, cuda, cuda:0, cuda:1 …")
    native = NativeExecutor(options.memory, options.threads or 0, options.io or "auto")
    only = _only_torch(plan)
    if only is not None:
        if executor == "native":
            raise ExecutorError(only.message, hint="use --executor torch, or auto")
        for step in plan.steps:
            require(step.method.needs, step.method.name)
        return _torch_required(plan, only, device, native.buffers, vram, probe or SystemProbe())
    if executor == "native" or (executor == "auto" and device == "cpu"):
        return _native(device, native, asked=executor == "native")
    if device == "cpu":
        return ChosenExecutor(_torch("cpu", native.buffers), "torch on the CPU, as asked")
    budget = _budget(device, vram, probe or SystemProbe())
    if budget is None:
        return _without_gpu(executor, device, native)
    return _with_gpu(plan, executor, device, budget, native)


@dataclass(frozen=True, slots=True)
class _Budget:
    """GPU memory that may be used, and how to say it."""

    name: str
    bytes: int
    text: str
    asked: int | None


def _budget(device: str | None, vram: int | None, probe: DeviceProbe) -> _Budget | None:
    memory = probe.memory(device or "cuda")
    if memory is None:
        return None
    if vram is not None:
        return _Budget(memory.name, vram, f"{_size(vram)} of GPU memory is allowed", vram)
    usable = memory.usable
    text = f"{_size(usable)} may be used of {_size(memory.free)} free on {memory.name}"
    return _Budget(memory.name, usable, text, None)


@dataclass(frozen=True, slots=True)
class _OnlyTorch:
    """Why the native executor cannot run a plan: in short, and as an error says it."""

    why: str
    message: str


def _only_torch(plan: Plan) -> _OnlyTorch | None:
    graphs = plan.jobs.totals.graphs
    if any(graph.is_opaque for graph in graphs):
        names = ", ".join(dict.fromkeys(s.method.name for s in plan.steps if s.method.opaque))
        from bmerge.executors.memory import largest_working_set

        why = f"{names} needs whole tensors"
        size = _size(largest_working_set(plan))
        message = f"{why}, which the native executor never holds"
        return _OnlyTorch(f"{why}, the largest with {size}", message)
    for graph in graphs:
        try:
            program_of(graph)
        except ExecutorError as error:
            return _OnlyTorch(str(error), str(error))
    return None


def _torch_required(
    plan: Plan,
    only: _OnlyTorch,
    device: str | None,
    memory: int,
    vram: int | None,
    probe: DeviceProbe,
) -> ChosenExecutor:
    """Choose for what only torch can run: a GPU if the tensors fit it, else the CPU."""
    from bmerge.executors.memory import largest_working_set

    need = largest_working_set(plan)
    budget = None if device == "cpu" else _budget(device, vram, probe)
    if device not in {None, "cpu"} and budget is None:
        raise _no_device(device)
    if budget is not None and (need <= budget.bytes or device is not None):
        gpu = _torch(device or "cuda", max(memory, need), vram)
        return ChosenExecutor(gpu, f"torch on {budget.name}: {only.why}")
    # No budget can be kept that is less than one tensor.
    return ChosenExecutor(_torch("cpu", max(memory, need)), f"torch on the CPU: {only.why}")


def _no_device(device: str | None) -> ExecutorError:
    message = f"there is no device {device} that torch can use"
    return ExecutorError(message, hint="use --executor native, or --device cpu")


def _native(device: str | None, native: NativeExecutor, *, asked: bool) -> ChosenExecutor:
    if device is not None and device != "cpu":
        message = f"the native executor runs on the CPU, not on {device}"
        raise ExecutorError(message, hint="use --executor torch for a GPU")
    why = "as asked" if asked else "the device asked for is the CPU"
    return ChosenExecutor(native, f"native streaming: {why}")


def _without_gpu(
    executor: ExecutorName, device: str | None, native: NativeExecutor
) -> ChosenExecutor:
    if device is not None:
        raise _no_device(device)
    if executor == "torch":
        return ChosenExecutor(_torch("cpu", native.buffers), f"torch on the CPU: {no_gpu()}")
    return ChosenExecutor(native, f"native streaming: {no_gpu()}")


def _with_gpu(
    plan: Plan,
    executor: ExecutorName,
    device: str | None,
    budget: _Budget,
    native: NativeExecutor,
) -> ChosenExecutor:
    from bmerge.executors.memory import largest_staging, largest_working_set

    need, staged = largest_working_set(plan), largest_staging(plan)
    sizes = f"the largest tensor needs {_size(need)} and {budget.text}"
    if staged > native.buffers and executor == "auto" and device is None:
        why = f"whole tensors take {_size(staged)} of main memory on their way to {budget.name}"
        return ChosenExecutor(native, f"native streaming on the CPU: {why}")
    if need <= budget.bytes or device is not None:
        # A device that is asked for is taken: torch cuts tensors up where the method allows it.
        torch = _torch(device or "cuda", native.buffers, budget.asked)
        how = "" if need <= budget.bytes else " in parts, as asked"
        return ChosenExecutor(torch, f"torch on {budget.name}{how}: {sizes}")
    if executor == "torch":
        return ChosenExecutor(_torch("cpu", native.buffers), f"torch on the CPU: {sizes}")
    return ChosenExecutor(native, f"native streaming on the CPU: {sizes}")


def _torch(device: str, memory: int, vram: int | None = None) -> Executor:
    """Make a torch executor; torch is imported here and not before."""
    require(("torch", "numpy"), "the torch executor")
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
