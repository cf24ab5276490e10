"""LoRAs of a recipe: opened and put on its models; and where a method takes them.

Part of :mod:`.merges`, which turns a recipe's names into a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError, nearest
from bmerge.formats import Checkpoint, checkpoint_sha256
from bmerge.method import MergeMethod
from bmerge.recipe import BlockWeights, LoraRef, ModelRef

if TYPE_CHECKING:
    from bmerge.lora.modules import Lora

__all__ = ["UNVERIFIED", "add_loras", "place_loras"]

UNVERIFIED = "`bmerge merge --unverified` takes it anyway"
"""What to do where a file is not the one that a recipe was written for."""


def add_loras(
    models: Sequence[ModelRef],
    checkpoints: Sequence[Checkpoint],
    architecture: Architecture,
    folder: Path,
    *,
    partial: bool = False,
) -> tuple[Checkpoint, ...]:
    """Put the LoRAs of a recipe on its models.

    Args:
        models: as the recipe names them.
        checkpoints: the same models, open and in one layout.
        architecture: whose blocks have the weights.
        folder: that relative paths start from.
        partial: take LoRAs of which most layers find no place.

    Raises:
        FormatError: if a file cannot be read or is not a LoRA.
        ArchitectureError: if a LoRA changes nothing in its model, or most of its layers find no
            place.
        RecipeError: if one is not the file that the recipe was written for, or its weights name
            a block that the architecture has not.
    """
    return tuple(
        checkpoint
        if not model.loras
        else _with_loras(model, checkpoint, architecture, folder, partial=partial)
        for model, checkpoint in zip(models, checkpoints, strict=True)
    )


def place_loras(
    method: MergeMethod, models: Sequence[ModelRef], loras: Sequence[LoraRef]
) -> tuple[ModelRef, ...]:
    """Return the models of a merge to which LoRAs are given beside its models.

    A method of any number of models takes each LoRA as one more: the first model with it. Of
    one that lacks models, all LoRAs together are the next, on the first model, which is the
    rest too. Where no model is missing, each of them gets all LoRAs.

    Args:
        method: the merge method.
        models: those that were named.
        loras: those that were named.
    """
    if not models or not loras:
        return tuple(models)
    first = models[0]
    if method.variadic:
        return (*models, *(replace(first, loras=(lora,)) for lora in loras))
    lacking = len(method.model_names) - len(models)
    if lacking <= 0:
        return tuple(replace(model, loras=tuple(loras)) for model in models)
    return (*models, replace(first, loras=tuple(loras)), *([first] * (lacking - 1)))


def _with_loras(
    model: ModelRef,
    checkpoint: Checkpoint,
    architecture: Architecture,
    folder: Path,
    *,
    partial: bool,
) -> Checkpoint:
    from bmerge.lora.apply import apply_loras  # most merges have none

    loras = []
    for ref in model.loras:
        if ref.weights.keys:
            message = f"{ref.path}: the weight of a LoRA is for blocks, not for patterns of keys"
            raise RecipeError(message)
        for block in ref.weights.blocks:
            if block not in architecture.blocks:
                message = f"{ref.path}: unknown block {block!r} of {architecture.id}"
                raise RecipeError(message, hint=nearest(block, architecture.blocks))
        loras.append((_open(ref, folder), _weight_of(ref.weights, architecture)))
    return apply_loras(checkpoint, loras, architecture.block_of, partial=partial)


def _open(ref: LoraRef, folder: Path) -> Lora:
    from bmerge.lora.parsing import open_lora

    lora = open_lora(ref.path and folder / Path(ref.path).expanduser())
    if ref.sha256 is not None:
        found = checkpoint_sha256(lora.checkpoint)
        if found != ref.sha256:
            message = f"{ref.path} is not the file that the recipe was written for"
            hint = f"its sha256 is {found}, the recipe's {ref.sha256}; {UNVERIFIED}"
            raise RecipeError(message, hint=hint)
    return lora


def _weight_of(weights: BlockWeights, architecture: Architecture) -> Callable[[str], float]:
    return lambda block: weights.of(architecture.leader(block, weights.blocks))
