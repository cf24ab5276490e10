"""A plan as data that a person can read, for ``--dry-run``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from bmerge.lora.patched import loras_of
from bmerge.plan.jobs import CopyJob, FillJob, MergeJob, Plan, SplitJob
from bmerge.recipe import AnyStep, Fallback, Pick

if TYPE_CHECKING:
    from bmerge.lora.changes import AppliedLora

__all__ = ["describe", "measured"]


def describe(plan: Plan) -> dict[str, Any]:
    """Return what a plan will do, as plain data.

    ``loras`` has, per model, the LoRAs on it with the tensors that they change, the layers that
    the model does not have, and their weights in the blocks that they change. ``blocks`` has,
    per block, how many tensors it has and each hyperparameter's value in it.
    """
    from bmerge.plan.encode import encoded  # as few plans are described

    counts = plan.jobs.totals.counts
    written = encoded(plan)
    return {
        "method": plan.title,
        "options": dict(plan.recipe.options),
        "architecture": plan.architecture.id,
        "models": [str(checkpoint.path) for checkpoint in plan.checkpoints],
        "loras": [list(map(_lora, loras_of(checkpoint))) for checkpoint in plan.checkpoints],
        "steps": {step.name: _summary(step) for step in plan.recipe.in_order()},
        "tensors": len(plan.outputs),
        "merged": counts[MergeJob] + counts[SplitJob],
        "copied": counts[CopyJob],
        "repaired": counts[FillJob],
        "measured": measured(plan),
        "bytes_read": plan.nbytes_read,
        "bytes_written": written.nbytes_written,
        "dtypes": dict(Counter(tensor.dtype for tensor in written.outputs)),
        "blocks": _blocks(plan),
        "notes": list(plan.notes),
        "warnings": list(plan.warnings),
    }


def measured(plan: Plan) -> list[dict[str, Any]]:
    """Return what a plan measures of the models first."""
    return [
        {
            "statistics": [name for name, _ in measure.folds],
            "tensors": len(measure.jobs),
            "bytes": measure.nbytes_read,
        }
        for measure in plan.measures
    ]


def _lora(applied: AppliedLora) -> dict[str, Any]:
    return {
        "path": str(applied.lora.path),
        "networks": applied.lora.networks,
        "weights": dict(applied.weights),
        "changed": list(applied.changed),
        "unmatched": list(applied.unmatched),
    }


def _summary(step: AnyStep) -> str:
    """Return a step as one line."""
    if isinstance(step, Pick):
        return ", ".join(f"{part} from {value}" for part, value in step.parts.items())
    values = list(map(str, step.inputs))
    if isinstance(step, Fallback):
        return ", else ".join(values)
    return f"{step.method} of {', '.join(values)}"


def _blocks(plan: Plan) -> dict[str, dict[str, Any]]:
    sizes = Counter(plan.architecture.block_of(tensor.key) for tensor in plan.outputs)
    weights = plan.hyperparameters
    return {
        block: {
            "tensors": sizes[block],
            **{
                name: weight.of(plan.architecture.leader(block, weight.blocks))
                for name, weight in weights.items()
            },
        }
        for block in plan.architecture.blocks
    }
