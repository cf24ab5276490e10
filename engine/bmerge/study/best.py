"""The winner's checkpoint and its recipe, in the study's folder."""

from __future__ import annotations

from pathlib import Path

from bmerge.errors import StudyError
from bmerge.recipe import dump_recipe
from bmerge.study.study import MergesModels
from bmerge.study.trial import Trial

__all__ = ["write_best"]


def write_best(merger: MergesModels, trial: Trial, folder: Path) -> tuple[Path, Path]:
    """Write ``best/best.safetensors`` and ``best/recipe.yaml``, unless they are there already.

    The recipe is written last: where it names the trial's merge, the checkpoint is complete.

    Args:
        merger: of the study.
        trial: the winner.
        folder: of the study.

    Returns:
        The checkpoint and the recipe.

    Raises:
        StudyError: if the folder cannot be written; the merge's own errors pass through.
    """
    checkpoint = folder / "best" / "best.safetensors"
    recipe = folder / "best" / "recipe.yaml"
    weights = trial.proposal.weights
    text = dump_recipe(merger.recipe(weights))
    if checkpoint.exists() and recipe.exists() and recipe.read_text(encoding="utf-8") == text:
        return checkpoint, recipe
    try:
        checkpoint.parent.mkdir(exist_ok=True)
        recipe.unlink(missing_ok=True)
        merger.write(weights, checkpoint)
        part = recipe.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(recipe)
    except OSError as error:
        message = f"{checkpoint.parent} cannot be written: {error.strerror or error}"
        raise StudyError(message) from error
    return checkpoint, recipe
