"""Reading recipes from YAML or JSON, strictly: every mistake is named with its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from bmerge.architectures import Architecture, outlines, whole
from bmerge.errors import BmergeError, RecipeError, nearest
from bmerge.recipe.document import Node, parse_document, read_document
from bmerge.recipe.load_steps import read_models, read_steps
from bmerge.recipe.presets import load_presets
from bmerge.recipe.schema import BlockWeights, LoraRef, ModelRef, Recipe
from bmerge.recipe.settings import SETTINGS, read_settings, read_sha256
from bmerge.recipe.weights import is_pattern, parse_weights

__all__ = ["load_recipe", "parse_recipe", "read_loras", "recipe_of"]

ArchitectureOf: TypeAlias = Callable[[Recipe], Architecture]
Presets: TypeAlias = Mapping[str, Sequence[float]]

_SIMPLE = ("method", "hyperparameters", "options", "clamp")
_STEPS = ("steps", "result")
_KEYS = tuple(dict.fromkeys(("models", *_SIMPLE, *SETTINGS, *_STEPS)))


def load_recipe(
    path: str | Path,
    *,
    architecture_of: ArchitectureOf | None = None,
    presets: Presets | None = None,
) -> Recipe:
    """Read a recipe file.

    A weight written as a number, or as a mapping of blocks with ``*`` for all others, needs no
    architecture. Lists, ranges and presets do: the recipe's own or that of its first model.

    Args:
        path: the file.
        architecture_of: finds the architecture of a recipe that names none; it is given the
            recipe without its hyperparameters.
        presets: name → list of weights; None takes bmerge's own.

    Raises:
        RecipeError: if the file cannot be read or has any mistake.
    """
    node = read_document(Path(path), name="the recipe")
    return recipe_of(node, architecture_of=architecture_of, presets=presets)


def parse_recipe(
    text: str, *, architecture_of: ArchitectureOf | None = None, presets: Presets | None = None
) -> Recipe:
    """Read a recipe from YAML or JSON text; see :func:`load_recipe`."""
    node = parse_document(text, name="the recipe")
    return recipe_of(node, architecture_of=architecture_of, presets=presets)


def recipe_of(
    node: Node,
    *,
    architecture_of: ArchitectureOf | None = None,
    presets: Presets | None = None,
    spare: bool = False,
) -> Recipe:
    """Return the recipe that a document is; see :func:`load_recipe`.

    With ``spare``, models and steps that the result does not need are left out; else they are
    mistakes.
    """
    fields = node.mapping(_KEYS)
    if "models" not in fields:
        raise node.error("the recipe has no 'models'")
    has_steps = any(key in fields for key in _STEPS)
    models = fields["models"]
    recipe = Recipe(
        method="",
        models=read_models(models, _model) if has_steps else tuple(map(_model, models.sequence())),
        **read_settings(fields),
    )
    find = architecture_of or _named
    nodes = models.mapping().values() if has_steps else models.sequence()
    loras = [read_loras(each, recipe, find, presets) for each in nodes]
    pairs = zip(recipe.models, loras, strict=True)
    recipe = replace(recipe, models=tuple(replace(model, loras=found) for model, found in pairs))

    def weights(value: Node) -> BlockWeights:
        return _weights(value, recipe, find, presets)

    if not has_steps:
        return _simple(recipe, fields, node, weights)
    for key in _SIMPLE:
        if key in fields:
            raise fields[key].error(f"{key!r} belongs in a step, where there are steps")
    steps, result = read_steps(fields, node, weights, spare=spare)
    recipe = replace(recipe, steps=steps, result=result)
    if not spare:
        return recipe
    needed = recipe.in_order()
    used = {
        name for value in (result, *(v for s in needed for v in s.inputs)) for name in value.names
    }
    kept = tuple(model for model in recipe.models if model.name in used)
    return replace(recipe, models=kept, steps=tuple(s for s in steps if s in needed))


def _simple(
    recipe: Recipe, fields: Mapping[str, Node], node: Node, weights: Callable[[Node], BlockWeights]
) -> Recipe:
    """Complete a recipe of one method."""
    if "method" not in fields:
        raise node.error("the recipe has no 'method'")
    recipe = replace(recipe, method=fields["method"].text())
    given = fields.get("hyperparameters")
    if given is None or given.value is None:
        return recipe
    return replace(recipe, hyperparameters={n: weights(v) for n, v in given.mapping().items()})


def _model(node: Node) -> ModelRef:
    if isinstance(node.value, str):
        return ModelRef(node.value)
    fields = node.mapping(("path", "sha256", "loras", "content"))
    path, digest = _file(node, fields)
    content = read_settings({"content": fields["content"]}) if "content" in fields else {}
    return ModelRef(path, digest, **content)


def read_loras(
    node: Node,
    recipe: Recipe,
    architecture_of: ArchitectureOf | None = None,
    presets: Presets | None = None,
) -> tuple[LoraRef, ...]:
    """Return the LoRAs on a model of a recipe, as its node names them.

    Args:
        node: the model.
        recipe: that it belongs to; see :func:`load_recipe` for the others.
        architecture_of: finds the recipe's architecture.
        presets: name → list of weights.
    """
    loras = node.value.get("loras") if isinstance(node.value, dict) else None
    find = architecture_of or _named
    return tuple(_lora(lora, recipe, find, presets) for lora in (loras.sequence() if loras else ()))


def _lora(
    node: Node, recipe: Recipe, architecture_of: ArchitectureOf, presets: Presets | None
) -> LoraRef:
    if isinstance(node.value, str):
        return LoraRef(node.value)
    fields = node.mapping(("path", "weight", "sha256"))
    path, digest = _file(node, fields)
    if "weight" not in fields:
        return LoraRef(path, sha256=digest)
    return LoraRef(path, _weights(fields["weight"], recipe, architecture_of, presets), digest)


def _file(node: Node, fields: Mapping[str, Node]) -> tuple[str, str | None]:
    """Return a file's path and, if it is given, the SHA-256 that it must have."""
    if "path" not in fields:
        raise node.error(f"{node.name} has no 'path'")
    given = fields.get("sha256")
    digest = read_sha256(given) if given is not None and given.value is not None else None
    return fields["path"].text(), digest


def _weights(
    node: Node, recipe: Recipe, architecture_of: ArchitectureOf, presets: Presets | None
) -> BlockWeights:
    try:
        plain = _plain_weights(node)
        if plain is not None:
            return plain
        architecture = architecture_of(recipe)
        known = load_presets() if presets is None else presets
        return parse_weights(node.plain(), architecture, presets=known)
    except BmergeError as error:
        if isinstance(error, RecipeError) and error.line is not None:
            raise
        raise node.error(f"{node.name}: {error}", error.hint) from error


def _plain_weights(node: Node) -> BlockWeights | None:
    """Return weights that need no architecture, or None."""
    if isinstance(node.value, (int, float)):
        return BlockWeights(node.number())
    if not isinstance(node.value, dict) or "*" not in node.value:
        return None
    if any("-" in block and not is_pattern(block) for block in node.value):
        return None
    values = {name: value.number() for name, value in node.value.items()}
    keys = {name: values.pop(name) for name in list(values) if is_pattern(name)}
    return BlockWeights(values.pop("*"), values, keys)


def _named(recipe: Recipe) -> Architecture:
    """Return the built-in architecture that a recipe names."""
    known = {outline.id: outline for outline in outlines()}
    if recipe.architecture is None:
        message = "lists, ranges and presets need the recipe to name its architecture"
        raise RecipeError(message, hint="add 'architecture: sd1', or write blocks and '*'")
    if recipe.architecture not in known:
        message = f"unknown architecture {recipe.architecture!r}"
        raise RecipeError(message, hint=nearest(recipe.architecture, known))
    return whole(known[recipe.architecture])
