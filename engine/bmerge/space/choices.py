"""What of a merge itself is searched: its method, which model stands where, options, strengths.

A choice is a place in the study file's ``merge`` section and what may stand there. Its value
travels with the block weights of a proposal, under the place's name, so that it is stored, proven
and shown as they are; the merger makes a recipe of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field

from bmerge.recipe.schema import BlockWeights, Recipe
from bmerge.records import dataclass
from bmerge.space.protocols import Parameter, Space
from bmerge.space.space import SearchSpace

__all__ = ["PREFIX", "Choice", "Choices", "with_choices"]

PREFIX = "merge."
"""Before the name of a place."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One place in the merge.

    Args:
        parameter: that says what stands there; its name is ``merge.`` and the place.
        default: its value where the merge is as the file has it.
    """

    parameter: Parameter
    default: float
    layers: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    places: Mapping[str, str | float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The parameter's name, which is that of the weights that carry it too."""
        return self.parameter.name

    def weights(self, values: Mapping[str, float]) -> BlockWeights:
        """Return the value as block weights carry it."""
        return BlockWeights(values[self.name])

    def values(self, weights: BlockWeights) -> dict[str, float]:
        """Return the value that block weights carry."""
        return {self.name: weights.default}


@dataclass(frozen=True, slots=True)
class Choices:
    """All choices of a study, and the recipes that they mean.

    Args:
        all: the choices.
        recipe_at: values of their parameters → the merge, without hyperparameters.
    """

    all: tuple[Choice, ...]
    recipe_at: Callable[[Mapping[str, float]], Recipe]

    @property
    def defaults(self) -> dict[str, float]:
        """The values at which the merge is as the file has it."""
        return {choice.name: choice.default for choice in self.all}

    def values(self, merge: Mapping[str, BlockWeights]) -> dict[str, float]:
        """Return the values that a proposal's block weights carry."""
        return {c.name: merge[c.name].default if c.name in merge else c.default for c in self.all}

    def single(self) -> Iterator[dict[str, float]]:
        """Yield values in which one place has another word than in the file; for each word."""
        for choice in self.all:
            for place in range(1, len(choice.parameter.choices)):
                yield {**self.defaults, choice.name: float(place)}


def with_choices(search: SearchSpace, choices: Choices) -> SearchSpace:
    """Return the space with what is chosen beside the block weights."""
    parameters = tuple(choice.parameter for choice in choices.all)
    space = Space((*search.space.parameters, *parameters))
    return SearchSpace(space, (*search.layouts, *choices.all))
