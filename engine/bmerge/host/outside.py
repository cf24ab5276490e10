"""Merges that are not a point of a study's space: any model file, or any recipe."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from bmerge.architectures import Architecture
from bmerge.foreign import is_merged_file, read_any_recipe
from bmerge.formats import checkpoint_sha256, open_checkpoint
from bmerge.host.merges import (
    architecture_of,
    inputs_of,
    open_models,
    plan_merge,
    with_hashes,
)
from bmerge.host.registry import Registry
from bmerge.plan import Plan
from bmerge.recipe import ModelRef, Recipe, Value

__all__ = ["outside_plan", "outside_recipe"]

_RECIPES = (".yaml", ".yml", ".json", ".mecha")
_MODEL = "model"


def outside_recipe(path: Path, registry: Registry) -> Recipe:
    """Return the recipe of a file, with absolute paths and the hashes of its inputs as they are.

    Args:
        path: a recipe; or a model, which is taken as it is.
        registry: where names are looked up.

    Raises:
        BmergeError: if it can be read as neither.
    """
    if path.suffix.lower() not in _RECIPES or is_merged_file(path):
        checkpoint = open_checkpoint(path)
        model = ModelRef(_absolute(path), checkpoint_sha256(checkpoint), name=_MODEL)
        return Recipe("", (model,), result=Value(_MODEL))

    def find(recipe: Recipe) -> Architecture:
        models = open_models(recipe.models, path.parent)
        return architecture_of(recipe.architecture, models, registry)

    recipe = read_any_recipe(path, architecture_of=find)
    registry.require(recipe.plugins, f"the recipe {path}")
    models = [_here(model, path.parent) for model in recipe.models]
    recipe = replace(recipe, models=tuple(models))
    checkpoints = open_models(recipe.models, Path())
    return with_hashes(recipe, inputs_of(recipe, checkpoints, registry, Path()).checkpoints)


def outside_plan(recipe: Recipe, registry: Registry) -> Plan:
    """Return the plan of a recipe of :func:`outside_recipe`."""
    return plan_merge(recipe, open_models(recipe.models, Path()), registry)


def _here(model: ModelRef, folder: Path) -> ModelRef:
    loras = tuple(replace(lora, path=_absolute(folder / lora.path)) for lora in model.loras)
    return replace(model, path=_absolute(folder / Path(model.path).expanduser()), loras=loras)


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - resolve() follows links
