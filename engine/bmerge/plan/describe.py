"""A plan as data that a person can read, for ``--dry-run``."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bmerge.plan.jobs import Plan

__all__ = ["describe"]


def describe(plan: Plan) -> dict[str, Any]:
    """Return what a plan will do, as plain data.

    ``blocks`` has, per block, how many tensors it has and each hyperparameter's value in it.
    """
    return {
        "method": plan.method.name,
        "options": dict(plan.recipe.options),
        "architecture": plan.architecture.id,
        "models": [str(checkpoint.path) for checkpoint in plan.checkpoints],
        "tensors": len(plan.outputs),
        "merged": len(plan.merges) + len(plan.splits),
        "copied": len(plan.copies),
        "repaired": len(plan.fills),
        "bytes_read": plan.nbytes_read,
        "bytes_written": plan.nbytes_written,
        "dtypes": dict(Counter(tensor.dtype for tensor in plan.outputs)),
        "blocks": _blocks(plan),
        "notes": list(plan.notes),
    }


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
