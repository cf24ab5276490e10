"""A merge into tensors that someone else holds, without a file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

from bmerge.errors import ExecutorError, nearest
from bmerge.executors import Executor, ProgressCallback
from bmerge.pipeline.lowering import Lowering
from bmerge.pipeline.measure import Statistics
from bmerge.pipeline.passes import carry_out
from bmerge.pipeline.sinks import BufferSink
from bmerge.pipeline.tensors import direct_view, store
from bmerge.plan import OutputTensor, Plan

__all__ = ["merge_into"]

_BUFFERED = 256 << 20
"""Bytes of tensors that are converted after merging, per round."""


def merge_into(
    plan: Plan,
    state_dict: Mapping[str, Any],
    *,
    executor: Executor,
    progress: ProgressCallback | None = None,
) -> None:
    """Carry out a plan into live tensors, in place.

    Each gets the values that the merged file would give it: the result is rounded to the
    recipe's dtype first, and then converted to the tensor's own if that is another.

    Args:
        plan: the merge.
        state_dict: key → torch tensor or numpy array that is overwritten. For a tensor on
            torch's ``meta`` device nothing is computed: a key that nobody wants.
        executor: runs the plan.
        progress: called while it runs.

    Raises:
        ExecutorError: if a key is missing there or has another shape, or the merge fails; some
            tensors may be overwritten by then.
    """
    fill = Statistics(executor).fill

    def run(views: Mapping[str, memoryview]) -> None:
        with Lowering(executor, BufferSink(views), progress, fill) as work:
            carry_out(plan.only(views), work)

    direct: dict[str, memoryview] = {}
    indirect: list[OutputTensor] = []
    taken = _Ranges()
    for output in plan.outputs:
        tensor = _tensor_of(state_dict, output.key)
        if getattr(tensor, "is_meta", False):
            continue
        view = direct_view(tensor, output)
        if view is None or not taken.add(_address(tensor), view.nbytes):
            indirect.append(output)  # two jobs must not write to one place at the same time
        else:
            direct[output.key] = view
    if direct:
        run(direct)
    for group in _groups(indirect):
        buffers = {output.key: bytearray(output.nbytes) for output in group}
        views = {key: memoryview(buffer) for key, buffer in buffers.items()}
        run(views)
        del views
        for output in group:
            store(state_dict[output.key], output, buffers[output.key])


def _tensor_of(state_dict: Mapping[str, Any], key: str) -> Any:
    try:
        return state_dict[key]
    except KeyError:
        message = f"the live model has no tensor {key!r}"
        raise ExecutorError(message, key=key, hint=nearest(key, state_dict)) from None


class _Ranges:
    """Ranges of memory that do not overlap."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []

    def add(self, begin: int, length: int) -> bool:
        """Add a range, unless it shares a byte with one that is there already."""
        if not length:
            return True
        end = begin + length
        at = bisect_right(self._begins, begin)
        before = at > 0 and self._ends[at - 1] > begin
        after = at < len(self._begins) and self._begins[at] < end
        if before or after:
            return False
        self._begins.insert(at, begin)
        self._ends.insert(at, end)
        return True


def _address(tensor: Any) -> int:
    """Return where a tensor's first byte lies."""
    if hasattr(tensor, "data_ptr"):
        return int(tensor.data_ptr())
    return int(tensor.__array_interface__["data"][0])


def _groups(outputs: list[OutputTensor]) -> Iterator[list[OutputTensor]]:
    """Yield groups of tensors that together need a bounded amount of memory."""
    group: list[OutputTensor] = []
    size = 0
    for output in outputs:
        if group and size + output.nbytes > _BUFFERED:
            yield group
            group, size = [], 0
        group.append(output)
        size += output.nbytes
    if group:
        yield group
