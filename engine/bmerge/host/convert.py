"""Conversions as merges of one model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bmerge.errors import RecipeError
from bmerge.host.merges import open_models, plan_merge
from bmerge.host.named_merge import PARTS, check_used
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
    _check_kept(baked, changes.get("parts", ()))
    recipe = Recipe("", (ModelRef(model, name=_MODEL),), result=Value(_MODEL), **changes)
    recipe = with_parts(recipe, baked)
    plan = plan_merge(recipe, open_models(recipe.models, Path()), registry)
    check_used(plan, baked)
    return plan


def _check_kept(baked: Sequence[tuple[str, str]], kept: Sequence[str]) -> None:
    """Refuse a part from another file that is left out, or beside which nothing is kept."""
    for component, path in baked:
        own = [part for part in kept if part.startswith(component)]
        if kept and (not own or len(own) == len(kept)):
            why = "keeps nothing else" if own else "leaves it out"
            message = f"{PARTS[component]} {path}: --parts {','.join(kept)} {why}"
            raise RecipeError(message, hint="name all parts of the result, or convert that file")
