"""Merges of a study that chooses parts of its merge: a proposal's values become a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmerge.host.merges import inputs_of, open_models, with_hashes
from bmerge.host.numbers import keys_of_steps, methods_in, numbers_of, spread_over
from bmerge.host.registry import Registry
from bmerge.host.study_kinds import methods_data
from bmerge.method import Hyperparameter
from bmerge.pipeline import Merger
from bmerge.pipeline.merger import Merge, TrialMerge
from bmerge.plan import Matching
from bmerge.recipe import BlockWeights, Recipe
from bmerge.space.choices import Choices, with_choices
from bmerge.space.space import SearchSpace
from bmerge.study_file.config import StudyConfig
from bmerge.study_file.space_config import build_space

__all__ = ["ChoosingMerger", "chosen_data", "merger_maker", "search_space"]


class ChoosingMerger:
    """Merges as a :class:`~bmerge.pipeline.Merger` does, by the recipe that is chosen.

    Args:
        merger: of the merge as the file has it.
        choices: that a study makes.
        registry: where methods are looked up.
    """

    def __init__(self, merger: Merger, choices: Choices, registry: Registry) -> None:
        self._merger, self._choices, self._registry = merger, choices, registry
        self._recipes: dict[tuple[float, ...], Recipe] = {}

    @property
    def scratch(self) -> Path:
        """The folder for the files of trials."""
        return self._merger.scratch

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how the inputs fit together."""
        return self._merger.notes

    def size(self, merge: Merge) -> int:
        """Return the bytes of a merge's file, but for its header."""
        return self._merger.size(self._meant(merge))

    def model(self, merge: Merge) -> TrialMerge:
        """Return a merge that is carried out when it is asked for."""
        return self._merger.model(self._meant(merge))

    def write(self, merge: Merge, output: Path) -> object:
        """Write one merge to a file that is kept."""
        return self._merger.write(self._meant(merge), output)

    def recipe(self, merge: Merge) -> Recipe:
        """Return the recipe of one merge."""
        return self._merger.recipe(self._meant(merge))

    def close(self) -> None:
        """Remove what is kept of one trial for the next."""
        self._merger.close()

    def check(self, weights: Mapping[str, BlockWeights]) -> None:
        """Plan the merge of every word that may be chosen, with ``weights`` for the rest.

        Raises:
            BmergeError: if one of them cannot be merged.
        """
        for values in self._choices.single():
            carried = {name: BlockWeights(value) for name, value in values.items()}
            self.size({**weights, **carried})

    def _meant(self, merge: Merge) -> Merge:
        """Return a merge in the words of the plain merger."""
        if not isinstance(merge, Mapping):
            return merge
        values = self._choices.values(merge)
        plain = {name: weights for name, weights in merge.items() if name not in values}
        recipe = self._recipe(values)
        taken = numbers_of(recipe, self._registry)
        known = {name: plain[name] for name in taken if name in plain}
        if values == self._choices.defaults:
            return known
        return recipe.with_weights(known)

    def _recipe(self, values: Mapping[str, float]) -> Recipe:
        """Return the recipe that values mean, without hyperparameters; made once."""
        key = tuple(values.values())
        if key not in self._recipes:
            self._recipes[key] = _complete(self._choices.recipe_at(values), self._registry)
        return self._recipes[key]


def search_space(config: StudyConfig, matching: Matching, registry: Registry) -> SearchSpace:
    """Return what is searched: in the tensors that are made of several models, and of the merge.

    Raises:
        RecipeError: if the file's ``space`` names what is not there, or has a value already.
    """
    merge = config.merge
    _refuse_given(config, registry)
    merged = [match for match in matching.matches if match.merged]
    keys: dict[str, list[str]] = {}
    for match in merged:
        keys.setdefault(match.block, []).append(match.output.key)
    numbers = numbers_of(merge, registry)
    if config.choices is not None:
        numbers = _numbers_of_all(config.choices, registry)
    search = build_space(
        spread_over(config.space, merge, registry),
        tuple(numbers.values()),
        matching.architecture,
        present=keys,
        keys=keys,
        of_steps=keys_of_steps(merged) if merge.steps else {},
        beside=config.choices is not None,
    )
    return search if config.choices is None else with_choices(search, config.choices)


def _refuse_given(config: StudyConfig, registry: Registry) -> None:
    """Complain of what is to be searched and has a value in a step."""
    given = spread_over(config.merge.weights, config.merge, registry)
    for name, entry in config.space.items():
        if {*spread_over({name: entry}, config.merge, registry)} & {*given}:
            message = f"{name} has a value in the merge, so it cannot be searched"
            entry.fail("", message, hint="leave it out of the step's hyperparameters")


def merger_maker(
    plain: Callable[[], Merger], config: StudyConfig, search: SearchSpace, registry: Registry
) -> Callable[[], Merger | ChoosingMerger]:
    """Return what makes mergers, once it is known that everything can be merged that is chosen."""
    choices = config.choices
    if choices is None:
        return plain
    ChoosingMerger(plain(), choices, registry).check(search.weights(search.centre()))
    return lambda: ChoosingMerger(plain(), choices, registry)


def _numbers_of_all(choices: Choices, registry: Registry) -> dict[str, Hyperparameter]:
    """Return the numbers of every merge that may be chosen; the file's first."""
    found: dict[str, Hyperparameter] = {}
    for values in (choices.defaults, *choices.single()):
        for name, number in numbers_of(choices.recipe_at(values), registry).items():
            found.setdefault(name, number)
    return found


def chosen_data(choices: Choices, registry: Registry) -> list[dict[str, Any]]:
    """Return what the study's results depend on beyond the file: contents and code.

    Args:
        choices: of the study.
        registry: where methods are looked up.
    """
    found = []
    for values in choices.single():
        recipe = _complete(choices.recipe_at(values), registry)
        hashes = [model.sha256 for model in recipe.models]
        loras = [lora.sha256 for model in recipe.models for lora in model.loras]
        code = methods_data(recipe, registry)
        found.append({"models": hashes, "loras": loras, "method": recipe.method, **code})
    return found


def _complete(recipe: Recipe, registry: Registry) -> Recipe:
    """Return a recipe with the hashes of its inputs and the plugins that it needs."""
    inputs = inputs_of(recipe, open_models(recipe.models, Path()), registry, Path())
    plugins = registry.plugins_of(methods_in(recipe, registry), inputs.architecture.id)
    return replace(with_hashes(recipe, inputs.checkpoints), plugins=plugins)
