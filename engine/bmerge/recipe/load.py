"""Reading recipes from YAML or JSON, strictly: every mistake is named with its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from bmerge.architectures import Architecture, builtin
from bmerge.errors import BmergeError, RecipeError, nearest
from bmerge.recipe.document import Node, parse_document, read_document
from bmerge.recipe.presets import load_presets
from bmerge.recipe.schema import BlockWeights, LoraRef, ModelRef, Recipe
from bmerge.recipe.settings import SETTINGS, read_settings
from bmerge.recipe.weights import parse_weights

__all__ = ["load_recipe", "parse_recipe", "read_loras"]

ArchitectureOf: TypeAlias = Callable[[Recipe], Architecture]
Presets: TypeAlias = Mapping[str, Sequence[float]]

_KEYS = ("method", "models", "hyperparameters", *SETTINGS)


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
    return _recipe(node, architecture_of, presets)


def parse_recipe(
    text: str, *, architecture_of: ArchitectureOf | None = None, presets: Presets | None = None
) -> Recipe:
    """Read a recipe from YAML or JSON text; see :func:`load_recipe`."""
    return _recipe(parse_document(text, name="the recipe"), architecture_of, presets)


def _recipe(node: Node, architecture_of: ArchitectureOf | None, presets: Presets | None) -> Recipe:
    fields = node.mapping(_KEYS)
    for key in ("method", "models"):
        if key not in fields:
            raise node.error(f"the recipe has no {key!r}")
    recipe = Recipe(
        method=fields["method"].text(),
        models=tuple(map(_model, fields["models"].sequence())),
        **read_settings(fields),
    )
    find = architecture_of or _named
    given = fields.get("hyperparameters")
    named = {} if given is None or given.value is None else given.mapping()
    models = [
        replace(model, loras=read_loras(node, recipe, find, presets))
        for model, node in zip(recipe.models, fields["models"].sequence(), strict=True)
    ]
    weights = {name: _weights(value, recipe, find, presets) for name, value in named.items()}
    return replace(recipe, models=tuple(models), hyperparameters=weights)


def _model(node: Node) -> ModelRef:
    if isinstance(node.value, str):
        return ModelRef(node.value)
    path, digest = _file(node, node.mapping(("path", "sha256", "loras")))
    return ModelRef(path, digest)


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
    digest = _optional_text(fields.get("sha256"))
    if digest is not None and (len(digest) != 64 or set(digest) - set("0123456789abcdef")):
        raise fields["sha256"].error("sha256 must be 64 hexadecimal digits, lower case")
    return fields["path"].text(), digest


def _optional_text(node: Node | None) -> str | None:
    return None if node is None or node.value is None else node.text()


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
    if any("-" in block for block in node.value):
        return None
    values = {block: value.number() for block, value in node.value.items()}
    return BlockWeights(values.pop("*"), values)


def _named(recipe: Recipe) -> Architecture:
    """Return the built-in architecture that a recipe names."""
    known = {architecture.id: architecture for architecture in builtin()}
    if recipe.architecture is None:
        message = "lists, ranges and presets need the recipe to name its architecture"
        raise RecipeError(message, hint="add 'architecture: sd1', or write blocks and '*'")
    if recipe.architecture not in known:
        message = f"unknown architecture {recipe.architecture!r}"
        raise RecipeError(message, hint=nearest(recipe.architecture, known))
    return known[recipe.architecture]
