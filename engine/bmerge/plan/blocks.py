"""A pass over the plan of a GGUF file: tensors that are written in blocks of ggml's types.

By default what is blocks in the first model is written in the same type; a type that the recipe
names is written for the same tensors, or, if none is blocks there, for the matrices of layers that
the model repeats. Then what is small is written in F32, as other writers of GGUF have it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

from bmerge.dtypes import BLOCKS, is_float
from bmerge.formats import Codec, CodedTensor, coded_part, holds_codes, leading
from bmerge.plan.dtypes import Dtypes
from bmerge.plan.jobs import CopyJob, Encoding, Job, Jobs, MergeJob, OutputTensor, Plan
from bmerge.plan.rewriting import base_of, is_kept, merge_of, placed

__all__ = ["BLOCK_TYPES", "in_blocks"]

BLOCK_TYPES: Mapping[str, str] = {name.lower(): name for name in BLOCKS}
"""What recipes call types of blocks → ggml's names."""
_INSTEAD = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""What llama.cpp takes for rows that are not whole blocks of 256."""
_REPEATED = re.compile(r"(?:^|\.)\d+\..*\.weight", re.DOTALL)
_KEPT = re.compile(r"embed|norm|pos_|time_|final|refiner|router|ff_i\.gate|^head\.", re.IGNORECASE)
"""Layers whose weights stay floats, wherever they are."""
_LAYER = re.compile(r"(?!.*ff_i\.gate\.).*\.weight", re.DOTALL)
"""Weights that are a layer's: ComfyUI-GGUF, to which BF16 is blocks, decodes those of linear layers
and 2D convolutions alone, not other parameters (Wan's modulation, tables, HiDream's gates)."""
_SMALL = 1024
"""Tensors of so many elements are F32 in files of others."""
_ROW = 256
"""Elements of a row that any tensor can be cut into for a file."""


def in_blocks(plan: Plan) -> Plan:
    """Return a plan whose output has tensors in blocks, if its recipe or first model has it so."""
    wanted = plan.recipe.quantise
    if wanted == "none":
        return plan
    coded = holds_codes(leading(plan.checkpoints).tensors)
    dtypes = Dtypes.of_keys(plan.recipe.dtype, [output.key for output in plan.outputs])
    if wanted == "auto" and not coded:
        return plan
    jobs, outputs = [], []
    for job, output in zip(plan.jobs, plan.outputs, strict=True):
        kind = None
        if isinstance(job, MergeJob | CopyJob) and is_float(output.dtype):
            if wanted == "auto":
                kind = _as_first(job, output) if dtypes.of(output.key) is None else None
            else:
                kind = _as_named(BLOCK_TYPES[wanted], job, output, coded=coded)
        made, tensor = _written(job, output, kind, widen=wanted != "auto")
        jobs.append(made)
        outputs.append(tensor)
    return replace(plan, jobs=Jobs.of(jobs), outputs=tuple(placed(outputs)))


def _as_first(job: Job, output: OutputTensor) -> str | None:
    """Return the type that a tensor has in the first model, if it can be cut into its blocks."""
    base = base_of(job)
    stored = base if isinstance(base, CodedTensor) else coded_part(base)
    if stored is None or stored.codec.name != "ggml":
        return None
    kind: str = stored.codec.parameters[0]
    whole = output.shape[-1] % BLOCKS[kind][0] == 0 or math.prod(output.shape) % _ROW == 0
    return kind if whole else None


def _as_named(kind: str, job: Job, output: OutputTensor, *, coded: bool) -> str | None:
    """Return a named type, or what is taken in its place, of a tensor that becomes blocks."""
    base = base_of(job)
    if coded:
        chosen = isinstance(base, CodedTensor) or coded_part(base) is not None
    else:
        named = _REPEATED.search(output.key) and not _KEPT.search(output.key)
        chosen = bool(named) and len(output.shape) == 2 and math.prod(output.shape) > _SMALL
    fitting = (
        each
        for each in (kind, _INSTEAD.get(kind, kind))
        if output.shape and output.shape[-1] % BLOCKS[each][0] == 0
    )
    return next(fitting, None) if chosen else None


def _written(
    job: Job, output: OutputTensor, kind: str | None, *, widen: bool
) -> tuple[Job, OutputTensor]:
    """Return how a tensor is written, and what it is in the file."""
    if kind is not None:
        blocks = math.prod(output.shape) // BLOCKS[kind][0]
        codec = Codec("ggml", (kind, blocks))
        tensor = replace(output, dtype=kind)
        base = base_of(job)
        if isinstance(base, CodedTensor) and base.codec == codec and is_kept(job, base):
            return CopyJob(job.key, base.parts[0], _block_of(job)), tensor
        return replace(
            merge_of(job, output), base=None, encoding=Encoding(codec, blocks, ())
        ), tensor
    small = len(output.shape) < 2 or math.prod(output.shape) <= _SMALL
    widened = {"F16", "BF16"} if small else set() if _is_layer(output) else {"BF16"}
    if widen and output.dtype in widened and isinstance(job, MergeJob | CopyJob):
        return merge_of(job, output), replace(output, dtype="F32")
    return job, output


def _is_layer(output: OutputTensor) -> bool:
    return len(output.shape) in {2, 4} and _LAYER.fullmatch(output.key) is not None


def _block_of(job: Job) -> str:
    assert isinstance(job, MergeJob | CopyJob), job
    return job.block
