"""Reading the ``merge`` section of a study file: a recipe whose hyperparameters are searched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bmerge.recipe.document import Node
from bmerge.recipe.load import read_loras, recipe_of
from bmerge.recipe.schema import LoraRef, ModelRef, Recipe
from bmerge.recipe.settings import SETTINGS, read_settings

__all__ = ["KEYS", "absolute", "read_merge"]

_SETTINGS = tuple(key for key in SETTINGS if key not in ("rebasin", "plugins"))
_ONE = ("method", "models", *_SETTINGS)
_SEVERAL = ("models", "steps", "result", *_SETTINGS)
KEYS = tuple(dict.fromkeys((*_ONE, *_SEVERAL)))


def read_merge(node: Node, folder: Path, *, spare: bool) -> Recipe:
    """Read the section.

    Args:
        node: one method and its models; or models by name, with steps.
        folder: that relative paths start from.
        spare: whether there may be models and steps that the result does not need, because
            another choice does; they are left out.

    Returns:
        The merge with absolute paths. Hyperparameters are those only to which steps give a value.

    Raises:
        RecipeError: if it makes no sense, with the line.
    """
    fields = node.mapping(KEYS)
    if "steps" not in fields and "result" not in fields:
        return _of_one_method(node, fields, folder)
    node.mapping(_SEVERAL)
    recipe = recipe_of(node, spare=spare)
    models = (
        replace(
            model,
            path=absolute(model.path, folder),
            loras=tuple(_placed(lora, folder) for lora in model.loras),
        )
        for model in recipe.models
    )
    return replace(recipe, models=tuple(models))


def absolute(path: str, folder: Path) -> str:
    """Return a path that starts from a folder as absolute; symbolic links stay as they are."""
    return os.path.abspath(folder / Path(path).expanduser())  # noqa: PTH100 - resolve() follows links


def _of_one_method(node: Node, fields: Mapping[str, Node], folder: Path) -> Recipe:
    for key in ("models", "method"):
        if key not in fields:
            raise node.error(f"{node.name} needs the key {key!r}")
    models = fields["models"].sequence()
    recipe = Recipe(
        method=fields["method"].text(),
        models=tuple(_model(item, folder) for item in models),
        **read_settings(fields),
    )
    with_loras = (
        replace(model, loras=tuple(_placed(lora, folder) for lora in read_loras(item, recipe)))
        for model, item in zip(recipe.models, models, strict=True)
    )
    return replace(recipe, models=tuple(with_loras))


def _model(node: Node, folder: Path) -> ModelRef:
    if isinstance(node.value, str):
        return ModelRef(absolute(node.value, folder))
    fields = node.mapping(("path", "sha256", "loras"))
    if "path" not in fields:
        raise node.error(f"{node.name} needs the key 'path'")
    given = fields.get("sha256")
    digest = None if given is None or given.value is None else given.text()
    return ModelRef(absolute(fields["path"].text(), folder), digest)


def _placed(lora: LoraRef, folder: Path) -> LoraRef:
    return replace(lora, path=absolute(lora.path, folder))
