"""Several numbers of each tensor in one pass: reductions that share a graph and a job.

A graph gives one tensor; the first elements of it, which alone are computed, are the numbers. Each
is split into two float32 that together are exact to 2⁻⁴⁷. A tensor that has fewer elements than
there are numbers is read once for each half of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
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
from bmerge.records import dataclass

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
    graphs = _graphs(formulas, len(inputs[0]))
    halves = len(graphs.halves)
    table = _Table(len(inputs) * halves)
    jobs: list[MergeJob] = []
    for index, infos in enumerate(inputs):
        first = index * halves
        if infos[0].numel >= halves:
            jobs.append(_job(graphs.packed, infos, first, halves))
        elif infos[0].numel:
            each = enumerate(graphs.halves, first)
            jobs += (_job(graph, infos, place, 1) for place, graph in each)
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


def _job(graph: Graph, infos: Sequence[Tensor], place: int, wanted: int) -> MergeJob:
    shape = (infos[0].numel,)  # flat, so that an element's index is its row
    flat = tuple(reshaped(info, shape) for info in infos)
    return MergeJob(str(place), "", graph, flat, (), shape, "F32", seed=0, wanted=wanted)


@dataclass(frozen=True, slots=True)
class _Graphs:
    """What is computed of a tensor: all halves of numbers at once, and each alone."""

    packed: Graph
    halves: tuple[Graph, ...]


def _graphs(formulas: Formulas, n_models: int) -> _Graphs:
    count = 0

    def packed(*models: Any) -> Any:
        nonlocal count
        halves = _halves(formulas, models)
        count = len(halves)
        return _packed(halves, models[0])

    whole = trace(packed, n_models, ())
    halves = (partial(_half, formulas, half) for half in range(count))
    return _Graphs(whole, tuple(trace(half, n_models, (), name="measured") for half in halves))


def _packed(halves: Sequence[Any], model: Any) -> Any:
    """Return a tensor whose first elements are the halves of all numbers."""
    *before, result = halves
    index = ops.row_index(model)
    for place in reversed(range(len(before))):
        result = ops.where(index <= place, before[place], result)
    return result


def _half(formulas: Formulas, half: int, *models: Any) -> Any:
    return _halves(formulas, models)[half]


def _halves(formulas: Formulas, models: Sequence[Any]) -> list[Any]:
    """Return what float32 holds of each number, and what it leaves."""
    halves = []
    for number in formulas(*models):
        shifted = number * _SPLIT
        head = shifted - (shifted - number)
        halves += [head, number - head]
    return halves
