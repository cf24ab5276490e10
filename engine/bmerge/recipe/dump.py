"""Writing recipes: as YAML for people, and as data for a merged file's metadata."""

from __future__ import annotations

from typing import Any

from bmerge.recipe.schema import BlockWeights, LoraRef, ModelRef, Recipe

__all__ = ["dump_recipe", "lora_data", "recipe_data"]

_PLAIN = (
    "dtype", "architecture", "seed", "on_missing", "on_nonfinite", "rebasin", "clamp", "prune",
    "rounding",
)  # fmt: skip


def dump_recipe(recipe: Recipe) -> str:
    """Return a recipe as YAML; :func:`bmerge.recipe.parse_recipe` makes an equal one of it."""
    from bmerge.recipe.yaml_dumper import dump  # yaml takes as long to import as a small merge

    return dump(recipe_data(recipe))


def recipe_data(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain data in the form of a recipe file, without what is default."""
    default = Recipe("", ())
    data: dict[str, Any] = {"method": recipe.method, "models": list(map(_model, recipe.models))}
    if recipe.hyperparameters:
        data["hyperparameters"] = {
            name: _weights(weights) for name, weights in recipe.hyperparameters.items()
        }
    if recipe.options:
        data["options"] = dict(recipe.options)
    if recipe.exclude:
        data["exclude"] = list(recipe.exclude)
    for field in _PLAIN:
        if getattr(recipe, field) != getattr(default, field):
            data[field] = getattr(recipe, field)
    return data


def _model(model: ModelRef) -> str | dict[str, Any]:
    data: dict[str, Any] = {"path": model.path}
    if model.sha256 is not None:
        data["sha256"] = model.sha256
    if model.loras:
        data["loras"] = [lora_data(lora) for lora in model.loras]
    return data if len(data) > 1 else model.path


def lora_data(lora: LoraRef) -> dict[str, Any]:
    """Return a LoRA on a model in the form of a recipe file."""
    data: dict[str, Any] = {"path": lora.path, "weight": _weights(lora.weights)}
    return data if lora.sha256 is None else {**data, "sha256": lora.sha256}


def _weights(weights: BlockWeights) -> float | dict[str, float]:
    if not weights.blocks:
        return weights.default
    return {"*": weights.default, **weights.blocks}
