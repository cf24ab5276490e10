"""What a plan is made of: one job for every tensor of the output.

Jobs are independent of each other and of the place that their output goes to, so executors may
run them in any order and into a file or live buffers alike.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from bmerge.architectures import Architecture
from bmerge.dtypes import SIZES
from bmerge.expr import Graph
from bmerge.formats import Checkpoint, Tensor
from bmerge.lora.patched import loras_of
from bmerge.method import MergeMethod
from bmerge.plan.steps import PlannedStep
from bmerge.recipe import BlockWeights, Recipe

__all__ = ["CopyJob", "FillJob", "Measure", "MergeJob", "OutputTensor", "Plan", "SplitJob"]


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
        return math.prod(self.shape) * SIZES[self.dtype]


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

    @property
    def numel(self) -> int:
        """Number of elements of the output."""
        return math.prod(self.shape)

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

    For the first convolution of models that take more channels (inpainting, pix2pix). Such a
    tensor has some 100 kB; :mod:`bmerge.pipeline` cuts it up in memory.

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
        return _nbytes_read(self.jobs)


def _nbytes_read(jobs: Sequence[MergeJob]) -> int:
    """Return the bytes of the inputs of jobs; most of these have the graph of the one before."""
    total = 0
    graph: Graph | None = None
    used: tuple[int, ...] = ()
    for job in jobs:
        if job.graph is not graph:
            graph, used = job.graph, job.graph.inputs
        total += sum(job.inputs[index].nbytes for index in used)
    return total


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a merge will do; made by :func:`bmerge.plan.make_plan`.

    Every output tensor is written by exactly one job.

    Args:
        recipe: what was asked for.
        steps: what computes, each after those that it needs.
        architecture: the block map.
        checkpoints: the inputs, in the order of the recipe's models.
        merges: tensors to compute.
        copies: tensors that are one input's, byte for byte.
        fills: tensors with known content.
        splits: tensors of which only some channels are merged.
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
    merges: tuple[MergeJob, ...]
    copies: tuple[CopyJob, ...]
    fills: tuple[FillJob, ...]
    splits: tuple[SplitJob, ...]
    outputs: tuple[OutputTensor, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    measures: tuple[Measure, ...] = ()

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
        merged = _nbytes_read([*self.merges, *(split.merge for split in self.splits)])
        measured = sum(measure.nbytes_read for measure in self.measures)
        return measured + merged + sum(job.source.nbytes for job in self.copies)

    @property
    def nbytes_written(self) -> int:
        """Bytes of all output tensors, without the file's header."""
        return sum(tensor.nbytes for tensor in self.outputs)

    def only(self, keys: Collection[str]) -> Plan:
        """Return the part of the plan that writes ``keys``."""
        return replace(
            self,
            merges=tuple(job for job in self.merges if job.key in keys),
            copies=tuple(job for job in self.copies if job.key in keys),
            fills=tuple(job for job in self.fills if job.key in keys),
            splits=tuple(job for job in self.splits if job.key in keys),
            outputs=tuple(tensor for tensor in self.outputs if tensor.key in keys),
        )
