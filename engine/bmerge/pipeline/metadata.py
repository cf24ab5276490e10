"""What a merged file says of itself: its recipe, its inputs' hashes and their own ancestry.

Nothing in it depends on the time, the machine or the place of a file, so that equal merges give
equal bytes: inputs are named by their file name and SHA-256.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bmerge import _native
from bmerge.formats import Checkpoint
from bmerge.plan import Plan
from bmerge.recipe import Recipe, recipe_data

__all__ = ["RECIPE_KEY", "build_metadata"]

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


def build_metadata(plan: Plan, hashes: Sequence[str] | None) -> dict[str, str]:
    """Return the string map for a merged file.

    Args:
        plan: the merge.
        hashes: SHA-256 of each input, in their order; None leaves them out.
    """
    first = plan.checkpoints[0].metadata
    names = [checkpoint.path.name for checkpoint in plan.checkpoints]
    recipe = json.dumps(_ancestry(plan, hashes), separators=(",", ":"), ensure_ascii=False)
    return {
        "format": "pt",
        RECIPE_KEY: recipe,
        "bmerge.version": _native.__version__,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": f"{plan.method.name} of {', '.join(names)}",
        "modelspec.merged_from": ", ".join(names),
        **plan.architecture.modelspec,
        **{key: first[key] for key in _KEPT if key in first},
    }


def _ancestry(plan: Plan, hashes: Sequence[str] | None) -> dict[str, Any]:
    """Return the recipe as data, complete, with what is known of its inputs."""
    data = recipe_data(_complete(plan))
    digests = hashes if hashes is not None else [None] * len(plan.checkpoints)
    models = [_model(model, sha) for model, sha in zip(plan.checkpoints, digests, strict=True)]
    return {"version": _VERSION_OF_FORM, **data, "models": models}


def _complete(plan: Plan) -> Recipe:
    """Return the recipe with its defaults written out: they may change one day."""
    recipe = plan.recipe
    defaults = {option.name: option.default for option in plan.method.options}
    return Recipe(
        plan.method.name, recipe.models, plan.hyperparameters, recipe.dtype,
        plan.architecture.id, recipe.seed, recipe.on_missing, recipe.on_nonfinite,
        {**defaults, **recipe.options},
    )  # fmt: skip


def _model(checkpoint: Checkpoint, sha256: str | None) -> dict[str, Any]:
    data: dict[str, Any] = {"name": checkpoint.path.name}
    if sha256 is not None:
        data["sha256"] = sha256
    if RECIPE_KEY in checkpoint.metadata:
        data["recipe"] = _parsed(checkpoint.metadata[RECIPE_KEY])
    foreign = {key: checkpoint.metadata[key] for key in _FOREIGN if key in checkpoint.metadata}
    if foreign:
        data["foreign"] = foreign
    return data


def _parsed(text: str) -> object:
    """Return an input's recipe as data, or as it is if someone has spoilt it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
