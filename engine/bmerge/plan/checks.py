"""What must hold of a matching before a merge is worth its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bmerge.architectures import Architecture, Outline, detect, outlines
from bmerge.errors import ArchitectureError, RecipeError
from bmerge.formats import Checkpoint, leading
from bmerge.formats.changes import role_of
from bmerge.plan.findings import Findings
from bmerge.plan.notes import file_name, some
from bmerge.plan.parts import COMPONENTS
from bmerge.plan.steps import naming
from bmerge.recipe import Fallback, Recipe, Step

if TYPE_CHECKING:
    from bmerge.plan.matched import Match, Matched

__all__ = ["check_architectures", "check_blocks", "check_merged", "check_models"]

_INSPECT = "'bmerge inspect FILE' shows what a file holds"


def check_architectures(checkpoints: Sequence[Checkpoint], architecture: Architecture) -> None:
    """Refuse inputs of different architectures.

    An input all of whose tensors the first model has may be of any, and so may one that has all of
    the first model's, such as a model with a ControlNet beside it, and a VAE or a text encoder
    alone, if it fits: :func:`bmerge.plan.part_files.check_part_files`.

    Raises:
        ArchitectureError: names both.
    """
    first = leading(checkpoints)
    others = [each for each in checkpoints if each.tensors.keys() != first.tensors.keys()]
    if not others:
        return
    from bmerge.plan.part_files import check_part_files, part_files

    known: list[Architecture | Outline] = [
        *(other for other in outlines() if other.id != architecture.id),
        architecture,
    ]
    check_part_files(checkpoints, architecture)
    separate = part_files(checkpoints)
    detected = detect(first.tensors, known)
    names = {architecture.canonical(key) for key in first.tensors}
    for checkpoint in (each for each in others if each not in separate):
        other = detect(checkpoint.tensors, known)
        if other.id == detected.id:
            continue
        theirs = {architecture.canonical(key) for key in checkpoint.tensors}
        if theirs <= names or names <= theirs:
            continue
        message = (
            f"different architectures: {file_name(first)} is {detected.id}, "
            f"{file_name(checkpoint)} is {other.id}"
        )
        raise ArchitectureError(message, hint=_INSPECT)


def check_models(checkpoints: Sequence[Checkpoint]) -> None:
    """Refuse LoRAs: a mix of factors is not the factors of a mix.

    Raises:
        ArchitectureError: names the first.
    """
    for checkpoint in checkpoints:
        if _is_lora(checkpoint):
            name = file_name(checkpoint)
            message = f"{name} is a LoRA, not a model"
            hint = "give it by --lora, or under a model's loras; 'bmerge lora merge' merges LoRAs"
            raise ArchitectureError(message, hint=hint)


def _is_lora(checkpoint: Checkpoint) -> bool:
    """Tell whether a file is a LoRA; what knows them is imported if its first key looks so."""
    first = next(iter(checkpoint.tensors), "")
    if role_of(first) is None:
        return False
    from bmerge.lora.parsing import is_lora_file

    return is_lora_file(checkpoint)


def check_blocks(recipe: Recipe, matches: Sequence[Match], architecture: Architecture) -> None:
    """Refuse an architecture that a recipe names and that knows none of the tensors.

    All of them would be in one block, and weights of any other do nothing. Text encoders and
    autoencoders alone may be in one.

    Raises:
        ArchitectureError: says so.
    """
    if recipe.architecture is None or len(architecture.blocks) == 1:
        return
    keys = [match.output.key for match in matches]
    others = COMPONENTS["text_encoder"] + COMPONENTS["vae"]
    if any(rule.match(key) is not None for rule in architecture.rules[:-1] for key in keys) or all(
        key.startswith(others) for key in keys
    ):
        return
    found = detect(keys, outlines())
    message = f"{architecture.id} puts all {len(keys)} tensors into one block, {matches[0].block}"
    hint = f"without an architecture that is named, these are {found.id}"
    raise ArchitectureError(message, hint=hint)


def check_merged(recipe: Recipe, matched: Matched, findings: Findings) -> None:
    """Refuse a merge in which nothing is merged, or a step of it that merges nothing.

    Args:
        recipe: in the form of steps.
        matched: the tensors of the output.
        findings: what has been found on the way.

    Raises:
        ArchitectureError: if the models have nothing in common that could be merged, or a part
            that is picked lacks weights.
        RecipeError: if the recipe leaves nothing to merge.
    """
    for (step, source, part, rest), keys in findings.lacking.items():
        message = f"step {step!r}: {source} lacks {some(keys)} of {part!r} in {rest}"
        raise ArchitectureError(message, hint="a fallback step takes from another what one lacks")
    if findings.excluded:
        if not matched.merged:
            keys = sorted(key for kept in findings.excluded.values() for key in kept)
            message = f"nothing is left to merge: {some(keys)} excluded"
            raise RecipeError(message, hint="exclude less, or copy the file")
        return
    steps = [step.name for step in recipe.in_order() if isinstance(step, Step)]
    idle = [name for name in steps if name in findings.unmerged - findings.merged]
    with naming(idle[0] if idle else ""):
        if idle and findings.missing:
            (lacking, source), keys = max(findings.missing.items(), key=lambda item: len(item[1]))
            message = f"nothing would be merged: {lacking} has no {some(keys)} of {source}"
            raise ArchitectureError(message, hint=_INSPECT)
        if not steps or (matched.merged and not idle):
            return
        first = next((step for step in recipe.in_order() if isinstance(step, Fallback)), None)
        if first is not None and not findings.unmerged:
            message = "nothing would be merged: no tensor is taken from a step that merges"
            hint = f"'fallback' of {first.name!r} takes from each only what all before it lack"
            raise RecipeError(message, hint=hint)
        message = "nothing would be merged: no tensor of floats is in all models"
        raise ArchitectureError(message, hint=_INSPECT)
