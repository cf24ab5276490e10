"""What a merged file says of itself: its recipe, its inputs' hashes and their own ancestry.

Nothing in it depends on the time, the machine or the place of a file, so that equal merges give
equal bytes: inputs are named by their file name and SHA-256.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmerge import _native
from bmerge.formats import Checkpoint
from bmerge.lora.patched import loras_of
from bmerge.plan import Plan, PlannedStep
from bmerge.recipe import ModelRef, Recipe, Step, lora_data, recipe_data

__all__ = ["RECIPE_KEY", "ancestor", "build_metadata"]

RECIPE_KEY = "bmerge.recipe"
_VERSION_OF_FORM = 1
_FOREIGN = ("sd_merge_recipe", "sd_merge_models", "mecha_recipe")
"""What other mergers write; kept as it is within the ancestry."""
_KEPT = tuple(
    f"modelspec.{name}"
    for name in (
        "architecture", "implementation", "prediction_type", "resolution", "encoder_layer",
        "timestep_range",
    )
)  # fmt: skip
"""What stays true of a merge if it is true of its first input."""


def build_metadata(plan: Plan, hashes: Mapping[Path, str] | None) -> dict[str, str]:
    """Return the string map for a merged file.

    Args:
        plan: the merge.
        hashes: path of each input → its SHA-256; None leaves them out.
    """
    first = plan.checkpoints[0].metadata
    names = list(dict.fromkeys(checkpoint.path.name for checkpoint in plan.inputs))
    recipe = json.dumps(_ancestry(plan, hashes), separators=(",", ":"), ensure_ascii=False)
    return {
        "format": "pt",
        RECIPE_KEY: recipe,
        "bmerge.version": _native.__version__,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": f"{plan.title} of {', '.join(names)}",
        "modelspec.merged_from": ", ".join(names),
        **plan.architecture.modelspec,
        **{key: first[key] for key in _KEPT if key in first},
    }


def _ancestry(plan: Plan, hashes: Mapping[Path, str] | None) -> dict[str, Any]:
    """Return the recipe as data, complete, with what is known of its inputs."""
    data = recipe_data(_complete(plan))
    refs = plan.recipe.models
    models = [
        {**ancestor(checkpoint, hashes or {}), **_loras(ref, checkpoint, hashes or {})}
        for ref, checkpoint in zip(refs, plan.checkpoints, strict=True)
    ]
    named = dict(zip((ref.name for ref in refs), models, strict=True))
    known = models if plan.recipe.result is None else named
    return {"version": _VERSION_OF_FORM, **data, "models": known}


def _complete(plan: Plan) -> Recipe:
    """Return the recipe with its defaults written out: they may change one day."""
    known = {planned.step.name: planned for planned in plan.steps}
    recipe = replace(plan.recipe, architecture=plan.architecture.id)
    if plan.recipe.result is None:
        only = _spelt_out(known[""])
        return replace(
            recipe, method=only.method, hyperparameters=only.hyperparameters, options=only.options
        )
    steps = (_spelt_out(known[s.name]) if s.name in known else s for s in recipe.steps)
    return replace(recipe, steps=tuple(steps))


def _spelt_out(planned: PlannedStep) -> Step:
    options = {option.name: option.default for option in planned.method.options}
    return replace(
        planned.step,
        method=planned.method.name,
        hyperparameters=planned.weights,
        options={**options, **planned.step.options},
    )


def ancestor(checkpoint: Checkpoint, hashes: Mapping[Path, str]) -> dict[str, Any]:
    """Return what a file made of a checkpoint tells of it: name, hash and how it was made."""
    data: dict[str, Any] = {"name": checkpoint.path.name}
    if checkpoint.path in hashes:
        data["sha256"] = hashes[checkpoint.path]
    if RECIPE_KEY in checkpoint.metadata:
        data["recipe"] = _parsed(checkpoint.metadata[RECIPE_KEY])
    foreign = {key: checkpoint.metadata[key] for key in _FOREIGN if key in checkpoint.metadata}
    if foreign:
        data["foreign"] = foreign
    return data


def _loras(
    model: ModelRef, checkpoint: Checkpoint, hashes: Mapping[Path, str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the LoRAs on a model, or nothing if it has none."""
    loras = [
        {**ancestor(applied.lora.checkpoint, hashes), "weight": lora_data(ref)["weight"]}
        for ref, applied in zip(model.loras, loras_of(checkpoint), strict=True)
    ]
    return {"loras": loras} if loras else {}


def _parsed(text: str) -> object:
    """Return an input's recipe as data, or as it is if someone has spoilt it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
