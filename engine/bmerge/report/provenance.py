"""Where the best merge comes from: its recipe, the files and code behind it, how to repeat it."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from bmerge.errors import BmergeError
from bmerge.foreign.lineage import Lineage, lineage
from bmerge.formats import open_checkpoint
from bmerge.pipeline import model_taken
from bmerge.recipe import load_recipe
from bmerge.recipe.schema import ModelRef, Recipe
from bmerge.space.choices import PREFIX
from bmerge.storage.definition import StudyDefinition
from bmerge.storage.stored import StoredStudy
from bmerge.study.best import front_recipe
from bmerge.trials.baselines import model_name
from bmerge.trials.folder import CHECKPOINT, RECIPE
from bmerge.trials.trial import Trial, front_of

__all__ = [
    "commands",
    "family",
    "hashes",
    "is_of",
    "model_names",
    "stored_recipe",
    "versions",
]

_DIGEST = re.compile(r"(?:sha256 )?([0-9a-f]{64})\b")
_DISTRIBUTIONS = ("bmerge", "torch", "optuna", "nevergrad", "bayesian-optimization", "numpy")


def hashes(definition: StudyDefinition, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what a study's results depend on, with its SHA-256.

    Args:
        definition: of the study.
        names: of its models.
    """
    yield from zip(names, definition.merge.models, strict=False)
    plain = definition.to_json()
    for section in ("merge", "generator", "scorers", "optimiser"):
        yield from _digests(section, plain[section])


def _digests(place: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield the hashes within a part of a definition, named by where they stand."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if (place, key) != ("merge", "models"):
                yield from _digests(f"{place} {key}", inner)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            own = inner.get("label") or inner.get("name") if isinstance(inner, Mapping) else None
            yield from _digests(f"{place.removesuffix('s')} {own or index}", inner)
    elif isinstance(value, str) and (found := _DIGEST.search(value)):
        yield place, found[1]


def family(study_dir: Path) -> Lineage | None:
    """Return the family tree that the best merge's file in a study's folder tells, if it does."""
    path = study_dir / CHECKPOINT
    if not path.is_file() or not path.resolve().is_relative_to(study_dir.resolve()):
        return None
    try:
        tree = lineage(path.name, open_checkpoint(path).metadata)
    except BmergeError:
        return None
    return tree if tree.merges else None


def stored_recipe(study_dir: Path, lost: list[str]) -> Recipe | None:
    """Return the recipe in the folder; one that cannot be read, or lies elsewhere, is lost."""
    path = study_dir / RECIPE
    if not path.is_file():
        return None
    try:
        if path.resolve().is_relative_to(study_dir.resolve()):
            return load_recipe(path)
    except BmergeError:
        pass
    lost.append(RECIPE.as_posix())
    return None


def is_of(recipe: Recipe | None, best: Trial | None, models: Sequence[str]) -> bool:
    """Tell whether a stored recipe is the best trial's; an unfinished run may have an old one.

    Args:
        recipe: the stored one.
        best: the best trial.
        models: the inputs' identities, which begin with their SHA-256.
    """
    if recipe is None or best is None:
        return False
    if best.proposal.recipe is not None:
        return recipe == best.proposal.recipe
    if best.proposal.model is None:
        # choices travel with the weights; the recipe has them where they belong, and a chosen
        # method does not take all of the others
        weights, given = best.proposal.weights, recipe.weights
        own = {name: w for name, w in weights.items() if not name.startswith(PREFIX)}
        if len(own) == len(weights) and own.keys() - given.keys():
            return False
        return all(own[n] == w for n, w in given.items() if n in own)
    taken = model_taken(recipe)
    return taken is not None and models[best.proposal.model].startswith(taken.sha256 or "unknown")


def model_names(
    definition: StudyDefinition, recipe: Recipe | None, best: Trial | None
) -> tuple[str, ...]:
    """Return the inputs' short names: their files', if the recipe tells, else their letters."""
    count = len(definition.merge.models)
    names = [f"model {model_name(index)}" for index in range(count)]
    if recipe is None or best is None or best.proposal.recipe is not None:
        return tuple(names)
    if best.proposal.model is None:
        return tuple(map(_model_name, recipe.models))
    names[0] = _model_name(recipe.models[0])  # of a model as it is, the recipe has no others
    if best.proposal.model:
        names[best.proposal.model] = _model_name(recipe.models[-1])
    return tuple(names)


def _model_name(model: ModelRef) -> str:
    return " + ".join(
        Path(path).stem for path in (model.path, *(lora.path for lora in model.loras))
    )


def versions() -> dict[str, str]:
    """Return the versions of what runs now."""
    versions = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def commands(folder: Path, study: StoredStudy, *, has_recipe: bool) -> Iterable[tuple[str, str]]:
    """Yield what can be made again, and the command line for it."""
    if has_recipe:
        command = f"bmerge merge {folder / RECIPE} -o {CHECKPOINT.name}"
        yield "The best checkpoint again, the same bytes:", command
    for trial in front_of(study.trials):
        if (path := front_recipe(folder, trial)).is_file():
            text = f"Trial {trial.number} of the front:"
            yield text, f"bmerge merge {path} -o trial-{trial.number}.safetensors"
    yield "This page again:", f"bmerge report {folder}"
