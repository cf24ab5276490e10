"""Conversions as merges of one model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bmerge.host.merges import open_models, plan_merge
from bmerge.host.named_merge import check_used
from bmerge.host.registry import Registry
from bmerge.plan import Plan
from bmerge.recipe import ModelRef, Recipe, Value, with_parts

__all__ = ["plan_of_conversion"]

_MODEL = "model"


def plan_of_conversion(
    model: str,
    registry: Registry,
    *,
    baked: Sequence[tuple[str, str]] = (),
    **changes: Any,
) -> Plan:
    """Return the plan that writes a model in another form.

    Args:
        model: path of the model.
        registry: where names are looked up.
        baked: component → the file that it is taken from; see :func:`bmerge.recipe.with_parts`.
        **changes: fields of the recipe: ``layout``, ``parts``, ``prefix``, ``dtype`` and so on.

    Raises:
        BmergeError: if it cannot be read, or has no such part or layout.
    """
    recipe = Recipe("", (ModelRef(model, name=_MODEL),), result=Value(_MODEL), **changes)
    recipe = with_parts(recipe, baked)
    plan = plan_merge(recipe, open_models(recipe.models, Path()), registry)
    check_used(plan, baked)
    return plan
