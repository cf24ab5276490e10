"""Writing recipes: as YAML for people, and as data for a merged file's metadata."""

from __future__ import annotations

from typing import Any

from bmerge.recipe.schema import (
    ZERO,
    AnyStep,
    BlockWeights,
    Fallback,
    LoraRef,
    ModelRef,
    Pick,
    PluginRef,
    Recipe,
    Step,
    Value,
)

__all__ = ["dump_recipe", "lora_data", "plugin_data", "recipe_data"]

_FIELDS = (
    "dtype", "architecture", "seed", "on_missing", "on_nonfinite", "rebasin", "clamp", "prune",
    "partial_loras", "rounding", "layout", "prefix", "quantise", "content",
)  # fmt: skip


def dump_recipe(recipe: Recipe) -> str:
    """Return a recipe as YAML; :func:`bmerge.recipe.parse_recipe` makes an equal one of it."""
    from bmerge.recipe.yaml_dumper import dump  # yaml takes as long to import as a small merge

    return dump(recipe_data(recipe))


def recipe_data(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain data in the form of a recipe file, without what is default."""
    default = Recipe("", ())
    data: dict[str, Any] = {}
    if recipe.result is None:
        data["method"] = recipe.method
        data["models"] = list(map(_model, recipe.models))
        data |= _parameters(recipe)
    else:
        data["models"] = {model.name: _model(model) for model in recipe.models}
        if recipe.steps:
            data["steps"] = {step.name: _step(step) for step in recipe.steps}
        data["result"] = _value(recipe.result)
    if recipe.exclude:
        data["exclude"] = list(recipe.exclude)
    if recipe.parts:
        data["parts"] = list(recipe.parts)
    for field in _FIELDS:
        if getattr(recipe, field) != getattr(default, field):
            data[field] = getattr(recipe, field)
    if recipe.plugins:
        data["plugins"] = list(map(plugin_data, recipe.plugins))
    return data


def plugin_data(plugin: PluginRef) -> dict[str, str]:
    """Return a plugin in the form of a recipe file."""
    names = ("path", "distribution", "version", "sha256")
    return {name: value for name in names if (value := getattr(plugin, name)) is not None}


def _model(model: ModelRef) -> str | dict[str, Any]:
    data: dict[str, Any] = {"path": model.path}
    if model.sha256 is not None:
        data["sha256"] = model.sha256
    if model.loras:
        data["loras"] = [lora_data(lora) for lora in model.loras]
    if model.content != "model":
        data["content"] = model.content
    return data if len(data) > 1 else model.path


def lora_data(lora: LoraRef) -> dict[str, Any]:
    """Return a LoRA on a model in the form of a recipe file."""
    data: dict[str, Any] = {"path": lora.path, "weight": _weights(lora.weights)}
    return data if lora.sha256 is None else {**data, "sha256": lora.sha256}


def _step(step: AnyStep) -> dict[str, Any]:
    if isinstance(step, Pick):
        return {"pick": {part: _value(value) for part, value in step.parts.items()}}
    values = list(map(_value, step.inputs))
    if isinstance(step, Fallback):
        return {"fallback": values}
    data = {"method": step.method, "models": values, **_parameters(step)}
    if step.seed is not None:
        data["seed"] = step.seed
    return data if step.clamp == "none" else {**data, "clamp": step.clamp}


def _value(value: Value) -> str | int:
    return 0 if value == ZERO else str(value)


def _parameters(step: Recipe | Step) -> dict[str, Any]:
    """Return hyperparameters and options, if there are any."""
    data: dict[str, Any] = {}
    if step.hyperparameters:
        data["hyperparameters"] = {
            name: _weights(weights) for name, weights in step.hyperparameters.items()
        }
    if step.options:
        data["options"] = dict(step.options)
    return data


def _weights(weights: BlockWeights) -> float | dict[str, float]:
    return weights.default if weights.is_uniform else weights.assignments
