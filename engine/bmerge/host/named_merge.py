"""A merge that is named in one go: a method, models, LoRAs, parts and values.

What the command line and :func:`bmerge.merge` share. Values are what a recipe file takes: numbers,
values for some blocks, lists, names of presets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError
from bmerge.host.idle import noting_idle
from bmerge.host.loras import place_loras
from bmerge.host.merges import architecture_of, open_models, plan_merge
from bmerge.host.registry import Registry
from bmerge.method import MergeMethod, option_text
from bmerge.plan import Plan
from bmerge.recipe import (
    BlockWeights,
    LoraRef,
    ModelRef,
    Recipe,
    load_presets,
    parse_weights,
)

__all__ = ["PARTS", "check_used", "plan_of_method"]

PARTS = {"vae": "--vae", "text_encoder": "--text-encoder"}
"""Component that a file of its own may give → the option that names it."""


def plan_of_method(
    method: str,
    models: Sequence[str],
    registry: Registry,
    *,
    values: Mapping[str, Any],
    changes: Mapping[str, Any],
    loras: Sequence[tuple[str, Any]] = (),
    parts: Sequence[tuple[str, str]] = (),
) -> Plan:
    """Return the plan of a merge by one method.

    Args:
        method: its name.
        models: paths, in the order that the method takes them.
        registry: where names are looked up.
        values: of the method's hyperparameters and options, by name.
        changes: fields of the recipe.
        loras: path and weight of each; None for a weight of 1.
        parts: component and file of each part that another file gives.

    Raises:
        BmergeError: if anything does not fit together.
    """
    found = registry.method(method)
    refs = tuple(ModelRef(path) for path in models)
    if loras and refs:
        blocks = architecture_of(
            changes.get("architecture"), open_models(refs[:1], Path()), registry
        )
        refs, values = _with_loras(found, refs, loras, values, blocks)
    found.check_models(len(refs))
    options = _options(found, values)
    found.check_names((name for name in values if name not in options), len(refs))
    recipe = Recipe(found.name, refs, options=options, **changes)
    checkpoints = open_models(recipe.models, Path())
    architecture = architecture_of(recipe.architecture, checkpoints, registry)
    weights = {
        name: _weights(value, architecture, f"--{name}")
        for name, value in values.items()
        if name not in options
    }
    recipe = replace(recipe, hyperparameters=weights)
    if parts:
        from bmerge.recipe import with_parts

        recipe = with_parts(recipe, parts)
    others = open_models(recipe.models[len(checkpoints) :], Path())
    plan = plan_merge(recipe, (*checkpoints, *others), registry)
    check_used(plan, parts)
    return noting_idle(plan, changes)


def _options(method: MergeMethod, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of options, of which the command line knows the text only."""
    given = {option.name: option for option in method.options if option.name in values}
    return {
        name: next((c for c in option.choices if option_text(c) == values[name]), values[name])
        for name, option in given.items()
    }


def _with_loras(
    method: MergeMethod,
    models: Sequence[ModelRef],
    loras: Sequence[tuple[str, Any]],
    values: Mapping[str, Any],
    architecture: Architecture,
) -> tuple[tuple[ModelRef, ...], Mapping[str, Any]]:
    """Return the models with LoRAs, and what the method is told.

    Where LoRAs stand for models that are missing, ``alpha`` is 1 unless it is given: how much of
    a LoRA is wanted is said by its own weight.
    """
    refs = [
        LoraRef(path)
        if weight is None
        else LoraRef(path, _weights(weight, architecture, f"--lora {path}"))
        for path, weight in loras
    ]
    placed = place_loras(method, models, refs)
    stands_in = len(placed) > len(models) and not method.variadic
    if stands_in and any(h.name == "alpha" for h in method.hyperparameters):
        values = {"alpha": 1.0, **values}
    return placed, values


def _weights(value: Any, architecture: Architecture, place: str) -> BlockWeights:
    try:
        return parse_weights(value, architecture, presets=load_presets())
    except RecipeError as error:
        raise RecipeError(f"{place}: {error}", hint=error.hint) from error


def check_used(plan: Plan, parts: Sequence[tuple[str, str]]) -> None:
    """Refuse a file that gives nothing, since one after it gives the same."""
    if not parts:
        return
    jobs = [*plan.merges, *(split.merge for split in plan.splits)]
    used = {file for job in jobs for info in job.used_inputs for file in info.files}
    used.update(file for job in plan.copies for file in job.source.files)
    given = plan.checkpoints[len(plan.checkpoints) - len(parts) :]
    for (component, path), checkpoint in zip(parts, given, strict=True):
        if used.isdisjoint(checkpoint.files):
            message = f"{PARTS[component]} {path}: another file gives all that is in it"
            raise RecipeError(message, hint="name one file for each text encoder")
