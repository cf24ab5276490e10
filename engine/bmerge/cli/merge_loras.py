"""The LoRAs of ``bmerge merge METHOD … --lora FILE=WEIGHT``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError
from bmerge.host.loras import place_loras
from bmerge.method import MergeMethod
from bmerge.recipe import LoraRef, ModelRef, load_presets, parse_weights

__all__ = ["split_weight", "with_loras"]


def with_loras(
    method: MergeMethod,
    models: Sequence[ModelRef],
    words: Sequence[str],
    given: Mapping[str, str],
    architecture: Architecture,
) -> tuple[tuple[ModelRef, ...], Mapping[str, str]]:
    """Return the models with the LoRAs that were named, and what the method is told.

    Where LoRAs stand for models that are lacking, ``alpha`` is 1 unless it is given: how much of
    a LoRA is wanted is said by its own weight.

    Args:
        method: the merge method.
        models: those that were named.
        words: the values of ``--lora``.
        given: the values of the method's own options.
        architecture: whose blocks are meant.

    Raises:
        RecipeError: if a weight cannot be read.
    """
    placed = place_loras(method, models, [_lora(word, architecture) for word in words])
    stands_in = len(placed) > len(models) and not method.variadic
    if stands_in and any(h.name == "alpha" for h in method.hyperparameters):
        given = {"alpha": "1", **given}
    return placed, given


def _lora(word: str, architecture: Architecture) -> LoraRef:
    path, weight = split_weight(word)
    if weight is None:
        return LoraRef(path)
    try:
        return LoraRef(path, parse_weights(weight, architecture, presets=load_presets()))
    except RecipeError as error:
        raise RecipeError(f"--lora {path}: {error}", hint=error.hint) from error


def split_weight(word: str) -> tuple[str, str | None]:
    """Return the parts of FILE=WEIGHT; a file's name may have an equals sign itself."""
    path, equals, weight = word, "", ""
    while "=" in path and not Path(path).exists():
        path, equals, more = path.rpartition("=")
        weight = f"{more}={weight}" if weight else more
    if not Path(path).exists():  # the file is missing: the error is about what stands first
        path, equals, weight = word.partition("=")
    return path, weight if equals else None
