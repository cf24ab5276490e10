"""Settings that were asked for and that a merge has no use for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from bmerge.expr import draws
from bmerge.lora.patched import loras_of
from bmerge.plan import Plan

__all__ = ["noting_idle"]


def noting_idle(plan: Plan, changes: Mapping[str, Any]) -> Plan:
    """Return a plan that notes which of the settings change nothing.

    Args:
        plan: the merge, with the settings.
        changes: fields of the recipe that were asked for beside it.
    """
    idle = [note for name, (uses, note) in _USES.items() if changes.get(name) and not uses(plan)]
    return replace(plan, notes=(*plan.notes, *idle)) if idle else plan


def _draws(plan: Plan) -> bool:
    """Tell whether random numbers of a merge depend on the recipe's seed."""
    recipe = plan.recipe
    drawn = (planned.graph for planned in plan.steps if planned.step.seed is None)
    by_chance = recipe.rounding == "stochastic" and _rounds(plan)
    return by_chance or bool(recipe.rebasin) or any(map(draws, drawn))


def _rounds(plan: Plan) -> bool:
    """Tell whether it matters how results are rounded."""
    return plan.recipe.rounding == "nearest" or plan.jobs.totals.rounded > 0


def _has_loras(plan: Plan) -> bool:
    return any(map(loras_of, plan.checkpoints))


_USES: dict[str, tuple[Callable[[Plan], bool], str]] = {
    "seed": (_draws, "the seed is not used: nothing of this merge draws random numbers"),
    "rounding": (_rounds, "stochastic rounding is not used: no result is rounded"),
    "partial_loras": (_has_loras, "partial LoRAs are not used: no model has a LoRA"),
}
"""Field of a recipe → what tells whether a merge uses it, and what is said if not."""
