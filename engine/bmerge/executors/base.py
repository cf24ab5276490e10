"""What an executor is, where its output goes, and what it says while and after it runs.

An executor runs the merges, copies and fills of a plan (not its splits, which
:mod:`bmerge.pipeline` turns into merges), of tensors that it can read. It writes every output
tensor completely or raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from bmerge.errors import ExecutorError
from bmerge.formats import Tensor
from bmerge.lora.patched import is_patched
from bmerge.plan import MergeJob, Plan
from bmerge.records import dataclass

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from bmerge._native import OutputFile

__all__ = [
    "ExecutionReport",
    "Executor",
    "NonFinite",
    "Processor",
    "Progress",
    "ProgressCallback",
    "Reading",
    "Rounded",
    "Sink",
    "Writing",
    "nonfinite_error",
]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a merge has come.

    Args:
        bytes_done: bytes of input processed, every pass over them counted.
        bytes_total: what ``bytes_done`` will be at the end; 0 while it is not known.
        tensors_done: output tensors written completely.
        tensors_total: output tensors in all.
    """

    bytes_done: int
    bytes_total: int
    tensors_done: int
    tensors_total: int


ProgressCallback: TypeAlias = Callable[[Progress], None]
"""Called about ten times a second from the thread that called ``run``, and once at the end.

What it raises stops the merge and is raised by ``run``.
"""


@dataclass(frozen=True, slots=True)
class NonFinite:
    """A NaN or infinity that a merge met.

    Args:
        key: of the output tensor.
        input: index of the job's input that holds it, or None: the inputs are finite and the
            result is not.
    """

    key: str
    input: int | None


@dataclass(frozen=True, slots=True)
class Rounded:
    """What rounding left of a tensor's changes, estimated from a sample of its elements.

    Args:
        key: of the output tensor.
        dtype: safetensors tag that it was rounded to.
        change: sum of the squared changes before rounding.
        arrived: sum of these changes times those after it; ``change`` if nothing is lost.
        size: sum of the squared values that were changed.
        beyond: share of elements beyond the largest number of an 8-bit format, which they became.
    """

    key: str
    dtype: str
    change: float
    arrived: float
    size: float
    beyond: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Which way of reading inputs the first units of a merge found to be the faster.

    Args:
        faster: ``read`` or ``mmap``.
        read: nanoseconds per byte of positioned reads and what is computed with them.
        mmap: of maps.
    """

    faster: str
    read: float
    mmap: float


@dataclass(frozen=True, slots=True)
class Writing:
    """How much one call writes, as was found while writing.

    Args:
        nbytes: of a call, at the end.
        large: nanoseconds per byte of large calls.
        small: of small ones.
    """

    nbytes: int
    large: float
    small: float


@dataclass(frozen=True, slots=True)
class Processor:
    """What a merge ran with.

    Args:
        threads: how many computed.
        vectors: the vector instructions: ``portable``, ``avx2``, ``avx512``.
        memory: budget in bytes for all buffers together.
    """

    threads: int
    vectors: str
    memory: int


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """What an executor did.

    Args:
        executor: its name and device, for example ``native`` or ``torch (cuda:0)``.
        nonfinite: where NaN or infinity was met, in the order of the plan.
        bytes_read: bytes of inputs that were decoded, every pass counted.
        bytes_written: bytes that were computed and written.
        bytes_copied: bytes that were copied unchanged.
        rounded: of some tensors, what rounding left of their changes.
        reading: how inputs were read, if there was a choice.
        writing: how the output was written, if enough was to find out.
        processor: what the core ran with; None if it was not the core.
    """

    executor: str
    nonfinite: tuple[NonFinite, ...] = ()
    bytes_read: int = 0
    bytes_written: int = 0
    bytes_copied: int = 0
    rounded: tuple[Rounded, ...] = ()
    reading: Reading | None = None
    writing: Writing | None = None
    processor: Processor | None = None


class Sink(Protocol):
    """Where output tensors go: a file, or live buffers."""

    @property
    def targets(self) -> Sequence[OutputFile | Buffer]:
        """The places that bytes can be written to, as ``_native.merge`` takes them."""

    def locate(self, key: str) -> tuple[int, int]:
        """Return (index in ``targets``, offset in it) of a tensor's first byte."""

    def write(self, key: str, offset: int, data: Buffer) -> None:
        """Write bytes of a tensor, ``offset`` bytes after its first one; from any thread."""


class Executor(Protocol):
    """Runs plans, one at a time. What it keeps between runs makes the next one faster at most."""

    @property
    def name(self) -> str:
        """``native`` or ``torch``, and the device where there is a choice."""

    def reads(self, tensor: Tensor) -> bool:
        """Tell whether it computes with a tensor as it is stored; any TensorInfo, at least.

        Asked for each input of a merge before :meth:`run`; :mod:`bmerge.pipeline` computes what
        it does not read into a file first.
        """

    def run(
        self, plan: Plan, sink: Sink, *, progress: ProgressCallback | None = None
    ) -> ExecutionReport:
        """Write every output tensor of ``plan`` that a merge, copy or fill makes.

        Args:
            plan: what to do.
            sink: where the output goes.
            progress: called while it runs.

        Raises:
            ExecutorError: if it cannot be carried out, or NaN or infinity is met and the
                recipe says that this is an error.
            KeyboardInterrupt: if the user interrupts; all work has ended by then.
        """


def nonfinite_error(job: MergeJob, index: int | None) -> ExecutorError:
    """Return the error for a NaN or infinity in a recipe that does not allow one.

    Args:
        job: that met it.
        index: of the input that holds it, or None for the result.
    """
    hint = "set on_nonfinite to 'report' to merge anyway"
    if index is None:
        message = f"merging {job.key!r} gives NaN or a value beyond {job.dtype}"
    else:
        from bmerge.formats import nonfinite_scale  # with all that tells what is damaged

        tensor = job.inputs[index]
        loras = " with its LoRAs" if is_patched(tensor) else ""
        scale = None if is_patched(tensor) else nonfinite_scale(tensor)
        holder = repr(job.key) if scale is None else f"{scale.key!r}, a scale of {job.key!r},"
        message = f"{holder} holds NaN or infinity in {tensor.file.name}{loras}"
    return ExecutorError(message, key=job.key, hint=hint)
