"""The winner's checkpoint and recipe, and a Pareto front's recipes, in the study's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bmerge.evaluate.durable import unwritable, write_durably
from bmerge.recipe import dump_recipe
from bmerge.study.study import MergesModels
from bmerge.trials.folder import CHECKPOINT, RECIPE
from bmerge.trials.trial import Trial

__all__ = ["front_recipe", "recipe_text", "write_best", "write_front"]


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
    checkpoint = folder / CHECKPOINT
    recipe = folder / RECIPE
    merge = trial.proposal.merge
    text = recipe_text(merger, trial)
    if checkpoint.exists() and recipe.exists() and recipe.read_text(encoding="utf-8") == text:
        return checkpoint, recipe
    try:
        checkpoint.parent.mkdir(exist_ok=True)
        recipe.unlink(missing_ok=True)
        merger.write(merge, checkpoint)
        write_durably(recipe, text.encode())
    except OSError as error:
        raise unwritable(checkpoint.parent, error) from error
    return checkpoint, recipe


def front_recipe(folder: Path, trial: Trial) -> Path:
    """Return where the recipe of a trial of the front is."""
    return folder / "front" / f"trial-{trial.number:04d}.yaml"


def write_front(merger: MergesModels, front: Sequence[Trial], folder: Path) -> tuple[Path, ...]:
    """Write ``front/trial-NNNN.yaml`` for each trial of the front; remove those of an older one.

    Args:
        merger: of the study.
        front: its Pareto front; empty where there is one objective.
        folder: of the study.

    Raises:
        StudyError: if the folder cannot be written.
    """
    recipes = tuple(front_recipe(folder, trial) for trial in front)
    try:
        for path, trial in zip(recipes, front, strict=True):
            write_durably(path, recipe_text(merger, trial).encode())
        for path in set((folder / "front").glob("trial-*.yaml")) - set(recipes):
            path.unlink()
    except OSError as error:
        raise unwritable(folder / "front", error) from error
    return recipes


def recipe_text(merger: MergesModels, trial: Trial) -> str:
    """Return the recipe of a trial's merge as a file has it.

    Args:
        merger: of the study.
        trial: any, whatever became of it.
    """
    return dump_recipe(merger.recipe(trial.proposal.merge))
