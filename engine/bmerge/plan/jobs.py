"""What a plan is made of: one job for every tensor of the output.

Jobs are independent of each other and of the place that their output goes to, so executors may
run them in any order and into a file or live buffers alike.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from bmerge.architectures import Architecture
from bmerge.dtypes import SIZES, nbytes_of
from bmerge.expr import Graph
from bmerge.formats import Checkpoint, Codec, Tensor, TensorInfo
from bmerge.lora.patched import loras_of
from bmerge.method import MergeMethod
from bmerge.plan.made import Made
from bmerge.plan.steps import PlannedStep
from bmerge.recipe import BlockWeights, Recipe
from bmerge.records import dataclass

__all__ = [
    "Alike", "CopyJob", "Encoding", "FillJob", "Job", "Jobs", "Measure", "MergeJob", "OutputTensor",
    "Plan", "SplitJob", "Totals",
]  # fmt: skip


_FLOAT32 = 4
"""Bytes of what is computed."""


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """One tensor of the output.

    Args:
        key: its name.
        dtype: safetensors tag.
        shape: extent of each dimension.
        offset: first byte, counted from the first byte of the first tensor.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    offset: int = 0

    @property
    def nbytes(self) -> int:
        """Length in bytes."""
        return nbytes_of(self.dtype, math.prod(self.shape))


@dataclass(frozen=True, slots=True)
class Encoding:
    """How an output is stored as codes with scales.

    Args:
        codec: what codes and scales are.
        rows: of codes that are stored, padding included.
        companions: keys of the scales, and of the scale of the whole tensor if there is one.
    """

    codec: Codec
    rows: int
    companions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MergeJob:
    """Compute one tensor.

    Args:
        key: of the output tensor.
        block: that the key is in.
        graph: what to compute: the method's, or that of one input where only its dtype changes.
        inputs: one for each input of the graph, all of the output's shape.
        scalars: the hyperparameters' values, in the order of ``graph.scalars``; NaN for statistics
            that are not known yet.
        shape: of the output and of every input.
        dtype: safetensors tag of the output.
        seed: of this tensor's random numbers, those of its rounding too; 0 if it draws none.
        wanted: how many elements of the output are computed, from the first on; None: all.
        base: what the output is a change of, as it is stored: the first model's tensor; None if
            only some channels are computed.
        encoding: how the output is stored, if not as numbers of ``dtype``.
    """

    key: str
    block: str
    graph: Graph
    inputs: tuple[Tensor, ...]
    scalars: tuple[float, ...]
    shape: tuple[int, ...]
    dtype: str
    seed: int
    wanted: int | None = None
    base: Tensor | None = None
    encoding: Encoding | None = None

    @property
    def numel(self) -> int:
        """Number of elements of the output."""
        return math.prod(self.shape)

    @property
    def is_rounded(self) -> bool:
        """Whether rounding may take something from what the output changes."""
        return self.is_narrow and self.numel > 0

    @property
    def is_narrow(self) -> bool:
        """Whether the output is a change of something, in fewer bits than it is computed in."""
        return self.base is not None and SIZES[self.dtype] < _FLOAT32

    @property
    def used_inputs(self) -> tuple[Tensor, ...]:
        """The inputs that the output depends on."""
        return tuple(self.inputs[index] for index in self.graph.inputs)


@dataclass(frozen=True, slots=True)
class CopyJob:
    """Copy one tensor's bytes as they are.

    Args:
        key: of the output tensor.
        source: where they lie.
        block: that the key is in.
    """

    key: str
    source: Tensor
    block: str


@dataclass(frozen=True, slots=True)
class FillJob:
    """Write bytes that are known beforehand.

    Args:
        key: of the output tensor.
        data: all its bytes.
    """

    key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class SplitJob:
    """Merge the first channels (dim 1) of one tensor and keep the others from the widest input.

    For the first layer of models that take more channels (inpainting, pix2pix).
    :mod:`bmerge.pipeline.split` makes two merges of it.

    Args:
        merge: for the shared channels; its inputs have them and perhaps more.
        rest: the widest input, which the other channels come from.
    """

    merge: MergeJob
    rest: Tensor

    @property
    def key(self) -> str:
        """Of the output tensor."""
        return self.merge.key


Job: TypeAlias = "MergeJob | CopyJob | FillJob | SplitJob"


@dataclass(frozen=True, slots=True)
class Totals:
    """What jobs are as a whole.

    Args:
        counts: kind of job → how many.
        nbytes_read: bytes of inputs, each once for each job that reads it.
        graphs: what is computed.
        stored: whether all that is computed is of tensors that are stored as they are.
        rounded: how many merges rounding may take some of the change from.
    """

    counts: Counter[type]
    nbytes_read: int
    graphs: frozenset[Graph]
    stored: bool
    rounded: int


@dataclass(slots=True)
class Alike:
    """Jobs that differ in names, extents and places alone.

    Args:
        first: number of the first of them.
        count: how many they are.
        numel: elements of all their outputs.
        filled: how many have any.
    """

    first: int
    count: int = 0
    numel: int = 0
    filled: int = 0

    def add(self, numel: int) -> None:
        """Count one more, of so many elements."""
        self.count += 1
        self.numel += numel
        self.filled += numel > 0


class Jobs(Made[Job]):
    """The jobs of a plan, in the order of its outputs.

    Args:
        count: how many.
        make: makes one from its number.
        groups: all of them, those that are alike together; None if that is not known.
    """

    def __init__(
        self, count: int, make: Callable[[int], Job], groups: Sequence[Alike] | None = None
    ) -> None:
        super().__init__(count, make)
        self._groups = groups
        self._totals: Totals | None = None

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> Jobs:
        """Return jobs that are there already."""
        kept = tuple(jobs)
        return cls(len(kept), kept.__getitem__)

    @property
    def totals(self) -> Totals:
        """What they are as a whole; one of each group is looked at, or else all, once."""
        if self._totals is None:
            if self._groups is None:
                self._totals = _totals((job, None) for job in self)
            else:
                self._totals = _totals((self._make(group.first), group) for group in self._groups)
        return self._totals


def _totals(jobs: Iterable[tuple[Job, Alike | None]]) -> Totals:
    """Return what jobs are as a whole, each for itself or for those that are like it."""
    counts: Counter[type] = Counter()
    nbytes, rounded, stored = 0, 0, True
    used: dict[Graph, tuple[int, ...]] = {}
    for job, group in jobs:
        several = group if group is not None and group.count > 1 else None
        counts[type(job)] += several.count if several else 1
        read: Iterable[Tensor] = ()
        if isinstance(job, CopyJob):
            read = (job.source,)
        elif not isinstance(job, FillJob):
            merge = job.merge if isinstance(job, SplitJob) else job
            if merge.is_narrow:
                rounded += several.filled if several else merge.numel > 0
            if merge.graph not in used:
                used[merge.graph] = merge.graph.inputs
            read = [merge.inputs[index] for index in used[merge.graph]]
            stored = stored and all(isinstance(tensor, TensorInfo) for tensor in read)
        for tensor in read:
            nbytes += nbytes_of(tensor.dtype, several.numel) if several else tensor.nbytes
    return Totals(counts, nbytes, frozenset(used), stored, rounded)


@dataclass(frozen=True, slots=True)
class Measure:
    """Take numbers over all tensors, before anything is merged.

    Args:
        jobs: one for each tensor; its output is one value, or one per column.
        folds: name of a statistic → what it is of all those values together.
    """

    jobs: tuple[MergeJob, ...]
    folds: tuple[tuple[str, Graph], ...]

    @property
    def nbytes_read(self) -> int:
        """Bytes of inputs that are read, each once."""
        return _totals((job, None) for job in self.jobs).nbytes_read


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a merge will do; made by :func:`bmerge.plan.make_plan`.

    Every output tensor is written by exactly one job.

    Args:
        recipe: what was asked for.
        steps: what computes, each after those that it needs.
        architecture: the block map.
        checkpoints: the inputs, in the order of the recipe's models.
        jobs: what makes each output tensor, in their order.
        outputs: all tensors, in the order of the first model.
        notes: what the user should know, one line each.
        warnings: what more likely than not is a mistake, one line each.
        measures: what the method must know of the models first; see
            :class:`bmerge.pipeline.measure.Statistics`.
    """

    recipe: Recipe
    steps: tuple[PlannedStep, ...]
    architecture: Architecture
    checkpoints: tuple[Checkpoint, ...]
    jobs: Jobs
    outputs: Sequence[OutputTensor]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = ()

    @property
    def merges(self) -> tuple[MergeJob, ...]:
        """The tensors to compute."""
        return tuple(job for job in self.jobs if isinstance(job, MergeJob))

    @property
    def copies(self) -> tuple[CopyJob, ...]:
        """The tensors that are one input's, byte for byte."""
        return tuple(job for job in self.jobs if isinstance(job, CopyJob))

    @property
    def fills(self) -> tuple[FillJob, ...]:
        """The tensors with known content."""
        return tuple(job for job in self.jobs if isinstance(job, FillJob))

    @property
    def splits(self) -> tuple[SplitJob, ...]:
        """The tensors of which only some channels are merged."""
        return tuple(job for job in self.jobs if isinstance(job, SplitJob))

    @property
    def hyperparameters(self) -> dict[str, BlockWeights]:
        """Every hyperparameter's value per block, with defaults; one per model is name_1, ….

        A step's is called step.name.
        """
        return {
            label: weights
            for planned in self.steps
            for label, weights in zip(planned.labels, planned.weights.values(), strict=True)
        }

    @property
    def methods(self) -> dict[str, MergeMethod]:
        """The merge methods, by the names that the recipe has for them."""
        return {planned.step.method: planned.method for planned in self.steps}

    @property
    def title(self) -> str:
        """The methods that take part."""
        return ", ".join(dict.fromkeys(planned.method.name for planned in self.steps)) or "copy"

    @property
    def inputs(self) -> tuple[Checkpoint, ...]:
        """The models, and then the LoRAs on them."""
        loras = (lora.lora.checkpoint for model in self.checkpoints for lora in loras_of(model))
        return (*self.checkpoints, *loras)

    @property
    def nbytes_read(self) -> int:
        """Bytes of inputs that are read, each once, and once more for each measure."""
        measured = sum(measure.nbytes_read for measure in self.measures)
        return measured + self.jobs.totals.nbytes_read

    @property
    def nbytes_written(self) -> int:
        """Bytes of all output tensors, without the file's header."""
        return sum(tensor.nbytes for tensor in self.outputs)

    def only(self, keys: Collection[str]) -> Plan:
        """Return the part of the plan that writes ``keys``."""
        return replace(
            self,
            jobs=Jobs.of(job for job in self.jobs if job.key in keys),
            outputs=tuple(tensor for tensor in self.outputs if tensor.key in keys),
        )
