"""Merges of a study that chooses parts of its merge: a proposal's values become a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmerge.host.ingredients import code_of
from bmerge.host.merges import inputs_of, open_models, with_hashes
from bmerge.host.registry import Registry
from bmerge.method import Hyperparameter, MergeMethod
from bmerge.pipeline import Merger
from bmerge.pipeline.merger import Merge, TrialMerge
from bmerge.plan import Matching
from bmerge.recipe import BlockWeights, Recipe
from bmerge.study.choices import Choices, with_choices
from bmerge.study.config import StudyConfig
from bmerge.study.space import SearchSpace
from bmerge.study.space_config import build_space

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
        taken = self._registry.method(recipe.method).hyperparameters_of(len(recipe.models))
        known = {h.name: plain[h.name] for h in taken if h.name in plain}
        if values == self._choices.defaults:
            return known
        return replace(recipe, hyperparameters=known)

    def _recipe(self, values: Mapping[str, float]) -> Recipe:
        """Return the recipe that values mean, without hyperparameters; made once."""
        key = tuple(values.values())
        if key not in self._recipes:
            self._recipes[key] = _complete(self._choices.recipe_at(values), self._registry)
        return self._recipes[key]


def search_space(
    config: StudyConfig, method: MergeMethod, matching: Matching, registry: Registry
) -> SearchSpace:
    """Return what is searched: in the tensors that are made of several models, and of the merge."""
    count = len(config.merge.models)
    keys: dict[str, list[str]] = {}
    for match in matching.matches:
        if match.merged:
            keys.setdefault(match.block, []).append(match.output.key)
    space = method.spread(config.space, count)
    numbers = method.hyperparameters_of(count)
    if config.choices is not None:
        numbers = _hyperparameters_of(config.choices, count, registry)
    search = build_space(space, numbers, matching.architecture, present=keys, keys=keys)
    return search if config.choices is None else with_choices(search, config.choices)


def merger_maker(
    plain: Callable[[], Merger], config: StudyConfig, search: SearchSpace, registry: Registry
) -> Callable[[], Merger | ChoosingMerger]:
    """Return what makes mergers, once it is known that everything can be merged that is chosen."""
    choices = config.choices
    if choices is None:
        return plain
    ChoosingMerger(plain(), choices, registry).check(search.weights(search.centre()))
    return lambda: ChoosingMerger(plain(), choices, registry)


def _hyperparameters_of(
    choices: Choices, count: int, registry: Registry
) -> tuple[Hyperparameter, ...]:
    """Return the numbers that any of the methods takes which may be chosen; the file's first.

    Args:
        choices: of the study.
        count: of the models.
        registry: where methods are looked up.
    """
    found: dict[str, Hyperparameter] = {}
    for values in (choices.defaults, *choices.single()):
        method = registry.method(choices.recipe_at(values).method)
        for h in method.hyperparameters_of(count):
            found.setdefault(h.name, h)
    return tuple(found.values())


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
        code = code_of(registry.methods, recipe.method)
        found.append({"models": hashes, "loras": loras, "method": recipe.method, **code})
    return found


def _complete(recipe: Recipe, registry: Registry) -> Recipe:
    """Return a recipe with the hashes of its inputs and the plugins that it needs."""
    inputs = inputs_of(recipe, open_models(recipe.models, Path()), registry, Path())
    plugins = registry.plugins_of([recipe.method], inputs.architecture.id)
    return replace(with_hashes(recipe, inputs.checkpoints), plugins=plugins)
