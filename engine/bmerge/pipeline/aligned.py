"""Git re-basin within a merge: each further model is aligned to the first before they merge.

In several steps, as sd-meh does it: the first model goes a part of the way, and what it has
become is what the next step aligns to. Aligned models and what lies between steps are temporary
files beside the output.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bmerge import _native
from bmerge.errors import ExecutorError
from bmerge.formats import Checkpoint, leading, runs_of
from bmerge.formats.layout import SafetensorsLayout
from bmerge.formats.safetensors import open_safetensors
from bmerge.formats.target import new_output
from bmerge.lora.patched import loras_of
from bmerge.pipeline.execute import execute
from bmerge.pipeline.lowering import Lowering
from bmerge.pipeline.measure import Statistics
from bmerge.pipeline.sinks import FileSink, OnePlace
from bmerge.plan import Plan, make_plan
from bmerge.plan.part_files import part_files
from bmerge.recipe import BlockWeights

if TYPE_CHECKING:
    from bmerge.rebasin import Alignment

__all__ = ["aligned", "alignment_note"]

_STEPPED = "alpha"
_ALIGNED = "aligned.safetensors"
"""What temporaries are named after."""


def aligned(plan: Plan, folder: Path, work: Lowering) -> Plan:
    """Return the plan of the last step, whose inputs are aligned.

    Args:
        plan: what was asked for, with re-basin.
        folder: for temporary files.
        work: who runs the steps before the last, is told while models are aligned, and has the
            files.

    Raises:
        ExecutorError: if the method cannot be taken in steps, or a file cannot be written.
        ArchitectureError: if a model is of an architecture that re-basin does not know.
    """
    if any(loras_of(checkpoint) for checkpoint in plan.checkpoints):
        message = "models with LoRAs on them cannot be aligned"
        raise ExecutorError(message, hint="bake the LoRA into a file first, then merge that")
    _check_steps(plan)
    steps = plan.recipe.rebasin
    lead = plan.checkpoints.index(leading(plan.checkpoints))
    separate = part_files(plan.checkpoints)
    models = list(plan.checkpoints)
    for step in range(steps):
        notes = list(plan.notes)
        for index, other in enumerate(plan.checkpoints):
            if index != lead and other not in separate:
                models[index], note = _align(models[lead], other, plan, folder, work)
                notes.append(note)
        stepped = _step(plan, tuple(models), step)
        if step < steps - 1:
            models[lead] = _run(stepped, folder, work)
    return replace(stepped, recipe=plan.recipe, notes=tuple(notes))


def alignment_note(reference: Checkpoint, model: Checkpoint, found: Alignment) -> str:
    """Return what there is to say about an alignment."""
    return (
        f"{model.path.name} aligned to {reference.path.name}: "
        f"{found.moved:,} of {found.channels:,} channels moved, "
        f"distance {found.before:.4g} → {found.after:.4g}"
    )


def _align(
    first: Checkpoint, other: Checkpoint, plan: Plan, folder: Path, work: Lowering
) -> tuple[Checkpoint, str]:
    """Return a model in the order of the first one, and what there is to say about it."""
    from bmerge.rebasin import match_weights, rule_of, write_in_order  # they need torch and scipy

    rule = rule_of(other)
    found = match_weights(first, other, rule, seed=plan.recipe.seed, progress=work.aligning)
    file = write_in_order(other, rule, found.orders, folder / _ALIGNED, metadata={})
    return _opened(file, other, work), alignment_note(first, other, found)


def _step(plan: Plan, models: tuple[Checkpoint, ...], step: int) -> Plan:
    """Return the plan of one step."""
    steps = plan.recipe.rebasin
    recipe = replace(plan.recipe, rebasin=0)
    if steps > 1:
        weights = plan.hyperparameters[_STEPPED]
        part = BlockWeights(
            _part(weights.default, step, steps),
            {block: _part(value, step, steps) for block, value in weights.blocks.items()},
            {pattern: _part(value, step, steps) for pattern, value in weights.keys.items()},
        )
        recipe = replace(recipe, hyperparameters={_STEPPED: part})
    return make_plan(
        recipe, method=plan.methods, checkpoints=models, architecture=plan.architecture
    )


def _part(alpha: float, step: int, steps: int) -> float:
    """Return the weight that takes a model from ``step / steps`` of ``alpha`` one step on."""
    done, next_done = (alpha * number / steps for number in (step, step + 1))
    return 1.0 - (1.0 - next_done) / (1.0 - done)


def _run(plan: Plan, folder: Path, work: Lowering) -> Checkpoint:
    """Carry out a step before the last, and return what the first model has become."""
    layout = SafetensorsLayout(((t.key, t.dtype, t.shape) for t in plan.outputs), {})
    try:
        file = new_output(folder / _ALIGNED, layout.size)
        layout.begin(file)
    except _native.IoError as error:
        raise ExecutorError(f"cannot write into {folder}: {error}") from error
    ready = Statistics(work.executor).fill(plan)
    execute(ready, FileSink([file], OnePlace(layout)), executor=work.executor)
    return _opened(file, plan.checkpoints[0], work)


def _opened(file: _native.OutputFile, original: Checkpoint, work: Lowering) -> Checkpoint:
    """Return a temporary as a checkpoint that goes by its original's name."""
    work.files.callback(file.discard)
    opened = open_safetensors(Path(file.temporary_path))
    return replace(opened, path=original.path, metadata=original.metadata)


def _check_steps(plan: Plan) -> None:
    if plan.recipe.rebasin == 1:
        return
    lead = leading(plan.checkpoints)
    if any(runs_of(tensor) is None for tensor in lead.tensors.values()):
        message = f"{lead.path.name} has quantised weights, which cannot be merged in steps"
        raise ExecutorError(message, hint="--rebasin takes them; or convert --quantise none first")
    hint = "with more than one iteration, re-basin needs two models and alpha alone, at most 1"
    if list(plan.hyperparameters) != [_STEPPED] or len(plan.checkpoints) != 2:
        raise ExecutorError(f"{plan.title} cannot be taken in steps", hint=hint)
    weights = plan.hyperparameters[_STEPPED]
    greatest = max(weights.assignments.values())
    if greatest > 1:
        raise ExecutorError(f"alpha {greatest:g} cannot be taken in steps", hint=hint)
