"""Several numbers of each tensor in one pass: reductions that share a graph and a job.

A graph gives one tensor; the first elements of it, which alone are computed, are the numbers. Each
is split into two float32 that together are exact to 2⁻⁴⁷. A tensor that has fewer elements than
there are halves is read several times, for as many of them as it has elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from bmerge import ops
from bmerge._native import OutputFile
from bmerge.architectures import Architecture
from bmerge.executors import Executor, ProgressCallback
from bmerge.expr import Graph, trace
from bmerge.formats import Tensor
from bmerge.formats.composed import reshaped
from bmerge.pipeline.execute import execute
from bmerge.plan import Jobs, MergeJob, Plan
from bmerge.recipe import Recipe

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Formulas", "measured"]

Formulas: TypeAlias = Callable[..., Sequence[Any]]
"""Takes a tensor of each model, as a merge method does; gives numbers, one per tensor each."""

_SPLIT = 2.0**30 + 1
"""Dekker's constant for a first half of 23 bits of a float64, which float32 holds exactly."""


def measured(
    inputs: Sequence[Sequence[Tensor]],
    formulas: Formulas,
    architecture: Architecture,
    *,
    executor: Executor,
    progress: ProgressCallback | None = None,
) -> list[tuple[float, ...]]:
    """Return the numbers of each tensor.

    Args:
        inputs: for each tensor, where it lies in every model; floats, of one shape.
        formulas: what is measured; NaN where a model holds NaN or infinity.
        architecture: of the models.
        executor: runs the pass.
        progress: called while it runs; what it raises stops it.

    Raises:
        ExecutorError: if a file cannot be read.
    """
    if not inputs:
        return []
    graphs = _Graphs(formulas, len(inputs[0]))
    halves = graphs.halves
    table = _Table(len(inputs) * halves)
    jobs: list[MergeJob] = []
    for index, infos in enumerate(inputs):
        room = min(infos[0].numel, halves)
        shape = (infos[0].numel,)  # flat, so that an element's index is its row
        flat = tuple(reshaped(info, shape) for info in infos)
        for first, graph in graphs.of(room).items():
            place, wanted = str(index * halves + first), min(room, halves - first)
            jobs.append(MergeJob(place, "", graph, flat, (), shape, "F32", seed=0, wanted=wanted))
    recipe = Recipe("", (), on_nonfinite="report")
    plan = Plan(recipe, (), architecture, (), Jobs.of(jobs), (), ())
    execute(plan, table, executor=executor, progress=progress)
    return list(table.numbers(halves))


class _Table:
    """A sink of numbers; a job's key is the place of its first.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self._data = bytearray(4 * count)

    @property
    def targets(self) -> Sequence[OutputFile | Buffer]:
        return (memoryview(self._data),)

    def locate(self, key: str) -> tuple[int, int]:
        return 0, 4 * int(key)

    def write(self, key: str, offset: int, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        begin = 4 * int(key) + offset
        self._data[begin : begin + view.nbytes] = view

    def numbers(self, halves: int) -> Iterator[tuple[float, ...]]:
        values = memoryview(self._data).cast("f")
        for first in range(0, len(values), halves):
            places = range(first, first + halves, 2)
            yield tuple(values[place] + values[place + 1] for place in places)


class _Graphs:
    """What is computed of a tensor.

    Args:
        formulas: what is measured.
        n_models: of how many models.
    """

    def __init__(self, formulas: Formulas, n_models: int) -> None:
        self._formulas = formulas
        self._n_models = n_models
        self._of: dict[int, dict[int, Graph]] = {0: {}}
        self.halves = 0
        self._traced(0, None)

    def of(self, room: int) -> Mapping[int, Graph]:
        """Return the graphs for tensors of ``room`` elements, by the first half that each gives."""
        if room not in self._of:
            firsts = range(0, self.halves, room)
            self._of[room] = {first: self._traced(first, first + room) for first in firsts}
        return self._of[room]

    def _traced(self, first: int, end: int | None) -> Graph:
        def packed(*models: Any) -> Any:
            halves = _halves(self._formulas, models)
            self.halves = len(halves)
            return _packed(halves[first:end], models[0])

        return trace(packed, self._n_models, ())


def _packed(halves: Sequence[Any], model: Any) -> Any:
    """Return a tensor whose first elements are ``halves``."""
    *before, result = halves
    index = ops.row_index(model)
    for place in reversed(range(len(before))):
        result = ops.where(index <= place, before[place], result)
    return result


def _halves(formulas: Formulas, models: Sequence[Any]) -> list[Any]:
    """Return what float32 holds of each number, and what it leaves."""
    halves = []
    for number in formulas(*models):
        shifted = number * _SPLIT
        head = shifted - (shifted - number)
        halves += [head, number - head]
    return halves
