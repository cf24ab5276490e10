"""Inputs of a recipe found by their hashes, on a machine where they may lie elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bmerge.errors import RecipeError
from bmerge.formats.contents import contents_sha256
from bmerge.formats.hashes import remembered
from bmerge.formats.registry import GGUF_SUFFIX, PICKLED_SUFFIXES, SAFETENSORS_SUFFIXES
from bmerge.recipe import LoraRef, ModelRef, Recipe

__all__ = ["located"]

_SUFFIXES = SAFETENSORS_SUFFIXES | PICKLED_SUFFIXES | {GGUF_SUFFIX}


def located(recipe: Recipe, places: Sequence[Path]) -> Recipe:
    """Return a recipe whose inputs are files of this machine.

    What is at its path stays there, and is checked when it is opened. Anything else is looked for
    by its hash: among files that were hashed here before, then in ``places``, those of its name
    first.

    Args:
        recipe: with the hashes of its inputs.
        places: folders of models.

    Raises:
        RecipeError: if an input is not here.
    """
    return replace(recipe, models=tuple(_model(model, places) for model in recipe.models))


def _model(model: ModelRef, places: Sequence[Path]) -> ModelRef:
    loras = tuple(_lora(lora, places) for lora in model.loras)
    return replace(model, path=_found(model.path, model.sha256, places), loras=loras)


def _lora(lora: LoraRef, places: Sequence[Path]) -> LoraRef:
    return replace(lora, path=_found(lora.path, lora.sha256, places))


def _found(path: str, digest: str | None, places: Sequence[Path]) -> str:
    if Path(path).exists():
        return path
    if digest is not None:
        for candidate in (*remembered(digest), *_models(places, Path(path).name)):
            if contents_sha256(candidate) == digest:
                return str(candidate.absolute())
    message = f"{path} is not on this machine"
    if digest is not None:
        message += f", nor another file of its contents (sha256 {digest[:12]})"
    raise RecipeError(message, hint="name the folders of its models: evaluators: {models: […]}")


def _models(places: Sequence[Path], name: str) -> Iterator[Path]:
    """Yield the models in folders and below, those of a name first."""
    inside = sorted(
        path
        for place in places
        for path in place.expanduser().rglob("*")
        if path.suffix.lower() in _SUFFIXES and path.is_file()
    )
    yield from sorted(inside, key=lambda path: path.name != name)
