"""From a recipe's names to a plan: method, opened models, architecture.

Recipes name things; plans and everything below them take objects. Here names are looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError
from bmerge.formats import (
    Checkpoint,
    checkpoint_sha256,
    decoded,
    in_form,
    in_one_layout,
    kind_of,
    leading,
    open_checkpoint,
    prefix_of,
)
from bmerge.host.loras import UNVERIFIED, add_loras
from bmerge.host.registry import Registry
from bmerge.lora.patched import loras_of
from bmerge.plan import Plan, make_plan
from bmerge.plan.notes import some
from bmerge.recipe import ModelRef, Recipe, Step
from bmerge.records import dataclass

__all__ = [
    "MergeInputs", "architecture_of", "inputs_of", "open_models", "plan_merge", "with_hashes",
]  # fmt: skip


def open_models(models: Sequence[ModelRef], folder: Path) -> tuple[Checkpoint, ...]:
    """Open the models of a recipe.

    Args:
        models: as the recipe names them.
        folder: that relative paths start from: the recipe's own.

    Raises:
        FormatError: if one cannot be read.
        RecipeError: if one is not the file that the recipe was written for.
    """
    return tuple(_open(model, folder) for model in models)


def _open(model: ModelRef, folder: Path) -> Checkpoint:
    checkpoint = open_checkpoint(model.path and folder / Path(model.path).expanduser())
    if model.sha256 is not None:
        found = checkpoint_sha256(checkpoint)
        if found != model.sha256:
            message = f"{model.path} is not the file that the recipe was written for"
            hint = f"its sha256 is {found}, the recipe's {model.sha256}; {UNVERIFIED}"
            raise RecipeError(message, hint=hint)
    return checkpoint


def with_hashes(recipe: Recipe, checkpoints: Sequence[Checkpoint]) -> Recipe:
    """Return a recipe that insists on the files that its models and LoRAs are now.

    Args:
        recipe: what to do.
        checkpoints: its models, with their LoRAs.
    """
    models = []
    for model, checkpoint in zip(recipe.models, checkpoints, strict=True):
        loras = tuple(
            replace(ref, sha256=checkpoint_sha256(applied.lora.checkpoint))
            for ref, applied in zip(model.loras, loras_of(checkpoint), strict=True)
        )
        models.append(replace(model, sha256=checkpoint_sha256(checkpoint), loras=loras))
    return replace(recipe, models=tuple(models))


def architecture_of(
    name: str | None, checkpoints: Sequence[Checkpoint], registry: Registry
) -> Architecture:
    """Return the architecture that is named, or that of the first model.

    A VAE or a text encoder alone has none where there is more.

    Raises:
        ArchitectureError: if there is none of that name.
    """
    return registry.architecture_of(name, leading(checkpoints))


def plan_merge(
    recipe: Recipe,
    checkpoints: Sequence[Checkpoint],
    registry: Registry,
    *,
    folder: Path = Path(),
) -> Plan:
    """Return the plan of a recipe whose models are open.

    Args:
        recipe: what to do.
        checkpoints: its models.
        registry: where its names are looked up.
        folder: that relative paths of its LoRAs start from.

    Raises:
        BmergeError: if method, models, hyperparameters and architecture do not fit together.
    """
    inputs = inputs_of(recipe, checkpoints, registry, folder)
    names = {step.method for step in recipe.as_steps().in_order() if isinstance(step, Step)}
    methods = {name: registry.method(name) for name in sorted(names)}
    recipe = replace(recipe, plugins=registry.plugins_of(names, inputs.architecture.id))
    models, architecture = inputs.checkpoints, inputs.architecture
    plan = make_plan(recipe, method=methods, checkpoints=models, architecture=architecture)
    return replace(plan, notes=(*inputs.notes, *plan.notes))


@dataclass(frozen=True, slots=True)
class MergeInputs:
    """The models of a recipe as a merge takes them.

    Args:
        checkpoints: with their LoRAs, in one layout: the one that is asked for.
        architecture: the block map.
        notes: what the user should know.
    """

    checkpoints: tuple[Checkpoint, ...]
    architecture: Architecture
    notes: tuple[str, ...]


def inputs_of(
    recipe: Recipe, checkpoints: Sequence[Checkpoint], registry: Registry, folder: Path
) -> MergeInputs:
    """Return what a recipe's models, open, are to its merge; see :func:`plan_merge`.

    Raises:
        BmergeError: if models, LoRAs and architecture do not fit together.
    """
    given = checkpoints
    if recipe.picks:
        from bmerge.formats.housed import housed  # few merges put parts together

        given = housed(checkpoints)
    models = in_form(given, recipe.form)
    notes: tuple[str, ...] = ()
    if recipe.layout is not None:  # of all parts: those that are not asked for are not lost
        notes = tuple(_lost(given, in_form(given, replace(recipe.form, parts=()))))
    if recipe.form.prefix == "":
        notes += tuple(_unseen(leading(models)))
    models = in_one_layout(models, whole_first=recipe.picks)
    architecture = architecture_of(recipe.architecture, models, registry)
    partial = recipe.partial_loras
    patched = add_loras(recipe.models, models, architecture, folder, partial=partial)
    return MergeInputs(patched, architecture, notes)


def _unseen(model: Checkpoint) -> Iterator[str]:
    """Yield a note if a model has no prefix before its diffusion model, but other parts."""
    kinds = {kind_of(prefix_of(key)) for key in model.tensors}
    if "" in kinds and kinds & {"text", "vae"}:
        yield (
            "ComfyUI loads the diffusion model alone of a file in which its keys have no prefix; "
            "its text encoders and VAE need files of their own: --parts"
        )


def _lost(before: Sequence[Checkpoint], after: Sequence[Checkpoint]) -> Iterator[str]:
    """Yield a note for each model that loses tensors to its layout, or lacks some in it."""
    # few merges have another layout than their models
    from bmerge.formats.layouts import kept_apart
    from bmerge.formats.lost import lost_tensors
    from bmerge.formats.prefixes import parted

    for one, other in zip(before, after, strict=True):
        lost = lost_tensors(decoded(one), other) if one is not other else ()
        if lost:
            yield f"{some(lost)} of {one.path.name} left out: the layout has no place for it"
        parts = parted(other.tensors).values() if one is not other else ()
        for name in (name for part in parts for name in kept_apart(part)):
            yield f"{one.path.name} has no {name!r}, which the layout needs: it is in another file"
