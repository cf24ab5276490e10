"""A pass over a plan: weights that are written as codes with scales, and what goes with them.

By default that is as the first model has them, whose unchanged weights are copied; a format that
the recipe names is written for the layers that are quantised in the first model, or, if none is,
for the large layers that its picture model repeats, or a T5 in a file of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias, cast

from bmerge.architectures.components import MODEL, TEXT_ENCODER, components_of
from bmerge.dtypes import BLOCKS, is_float
from bmerge.errors import FormatError
from bmerge.formats import CodedTensor, coded_part, holds_codes, leading
from bmerge.formats.requantise import (
    OF_INPUTS,
    WEIGHT,
    Format,
    Quantised,
    as_before,
    as_like,
    as_new,
)
from bmerge.plan.blocks import BLOCK_TYPES, in_blocks
from bmerge.plan.dtypes import Dtypes
from bmerge.plan.jobs import CopyJob, Encoding, FillJob, Job, Jobs, MergeJob, OutputTensor, Plan
from bmerge.plan.rewriting import base_of, is_kept, merge_of, placed
from bmerge.plan.unturned import unturned

__all__ = ["encoded"]

_Written: TypeAlias = "tuple[Job | None, OutputTensor]"
"""An output and what makes it; None if the job before it does."""

_REPEATED = re.compile(r"\.\d+\..*\.weight", re.DOTALL)
_KEPT = re.compile(r"embed|norm|modulation|adaln|pos_|time_|final|router", re.IGNORECASE)
"""Layers whose weights nobody quantises, wherever they are."""
_T5 = "t5"
"""The architecture of text encoders that ComfyUI loads quantised; of CLIP it knows floats alone."""
_LEAST = 64
"""Matrices with a smaller extent are not worth it."""


def encoded(plan: Plan, *, gguf: bool = False) -> Plan:
    """Return a plan whose output has quantised weights, if its recipe or its first model has it so.

    Args:
        plan: the merge.
        gguf: whether its output is a GGUF file, which has blocks of ggml's types.

    Raises:
        FormatError: if the first model's file has become shorter, or no weight can be of the
            format that the recipe names.
    """
    wanted, first = plan.recipe.quantise, leading(plan.checkpoints).tensors
    if gguf or wanted in BLOCK_TYPES:
        found = in_blocks(plan)
        if wanted in BLOCK_TYPES and not any(output.dtype in BLOCKS for output in found.outputs):
            raise _nothing(plan, "more than 1024 elements, in rows of whole blocks")
        return found
    coded = holds_codes(first)
    if wanted == "auto":
        return _as_first(plan) if coded else plan
    if wanted == "none":
        return plan
    components = components_of([output.key for output in plan.outputs])
    repeating = TEXT_ENCODER if plan.architecture.id == _T5 else MODEL

    def choose(job: Job, output: OutputTensor) -> Quantised | None:
        base = base_of(job)
        of_model = components[output.key] == repeating and _is_large(output)
        chosen = bool(isinstance(base, CodedTensor) or coded_part(base)) if coded else of_model
        return as_new(cast("Format", wanted), output.shape) if chosen else None

    found = _rebuilt(plan, choose)
    floats = {(output.key, output.dtype) for output in plan.outputs}
    if all((output.key, output.dtype) in floats for output in found.outputs):
        raise _nothing(plan, f"{_LEAST} rows and columns or more")
    return found


def _nothing(plan: Plan, large: str) -> FormatError:
    """Return the error of a plan of which nothing would be quantised."""
    path = leading(plan.checkpoints).path
    message = f"no weight of {path.name} would be written in {plan.recipe.quantise}"
    hint = f"quantised are the matrices of layers that a picture model or T5 repeats, of {large}"
    return FormatError(message, path=path, hint=hint)


def _as_first(plan: Plan) -> Plan:
    """Return a plan with weights quantised as in the first model, where no dtype is asked for."""
    dtypes = Dtypes.of_keys(plan.recipe.dtype, [output.key for output in plan.outputs])

    def choose(job: Job, output: OutputTensor) -> Quantised | None:
        if dtypes.of(output.key) is not None:
            return None
        base = base_of(job)
        if isinstance(base, CodedTensor):
            return as_before(base)
        inner = coded_part(base)
        return None if inner is None else as_like(inner, output.key, output.shape)

    return _rebuilt(plan, choose)


def _is_large(output: OutputTensor) -> bool:
    """Tell whether a tensor is the matrix of a layer that a model repeats."""
    large = len(output.shape) == 2 and min(output.shape) >= _LEAST
    named = _REPEATED.search(output.key) and not _KEPT.search(output.key)
    return bool(large and named and is_float(output.dtype))


def _rebuilt(plan: Plan, choose: Callable[[Job, OutputTensor], Quantised | None]) -> Plan:
    jobs: dict[str, Job] = {}
    outputs: dict[str, OutputTensor] = {}
    for job, output in zip(plan.jobs, plan.outputs, strict=True):
        how = choose(job, output)
        written = [(job, output)] if how is None else _quantised(job, output, how)
        for made, tensor in written:
            outputs.setdefault(tensor.key, tensor)
            if made is not None:
                jobs.setdefault(tensor.key, made)
    return replace(plan, jobs=Jobs.of(jobs.values()), outputs=tuple(placed(outputs.values())))


def _quantised(job: Job, output: OutputTensor, how: Quantised) -> Iterator[_Written]:
    """Yield what a weight becomes."""
    assert isinstance(job, MergeJob | CopyJob), job
    layer = output.key.removesuffix(WEIGHT)
    names = [layer + role for role, _, _ in how.parts]
    tensors = [
        OutputTensor(key, dtype, shape)
        for key, (_, dtype, shape) in zip(names, how.parts, strict=True)
    ]
    base = base_of(job)
    if isinstance(base, CodedTensor) and base.codec == how.codec and is_kept(job, base):
        stored = zip(names, base.parts, strict=True)
        kept: list[Job | None] = [CopyJob(key, part, job.block) for key, part in stored]
        beside = [(layer + role, info) for role, info in base.others if role in OF_INPUTS]
        kept += [CopyJob(key, info, job.block) for key, info in beside]
        tensors += [OutputTensor(key, info.dtype, info.shape) for key, info in beside]
        yield from zip(kept, tensors, strict=True)
    else:
        encoding = Encoding(how.codec, how.rows, tuple(names[1:]))
        yield unturned(replace(merge_of(job, output), encoding=encoding, base=None)), tensors[0]
        yield from ((None, tensor) for tensor in tensors[1:])
    for role, data in how.marks.items():
        key = layer + role
        yield FillJob(key, data), OutputTensor(key, "U8", (len(data),))
    for key, (dtype, shape, data) in how.whole.items():
        yield FillJob(key, data), OutputTensor(key, dtype, shape)
