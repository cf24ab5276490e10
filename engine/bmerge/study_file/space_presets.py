"""A hyperparameter that takes one of some presets: a choice between words in the search space."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from bmerge.architectures import Architecture
from bmerge.errors import BmergeError, StudyError
from bmerge.recipe import BlockWeights, load_presets, parse_weights
from bmerge.records import dataclass
from bmerge.space.protocols import Parameter
from bmerge.study_file.space_entry import HyperparameterSpace

if TYPE_CHECKING:
    from bmerge.method import Hyperparameter

__all__ = ["Presets", "presets_of"]

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Presets:
    """Where one hyperparameter's values come from: one parameter chooses between block weights.

    Args:
        name: of the hyperparameter, and of the parameter.
        default: of the hyperparameter.
        choices: words → block weights.
    """

    name: str
    default: float
    choices: Mapping[str, BlockWeights]

    @property
    def parameter(self) -> Parameter:
        """The parameter that chooses."""
        words = tuple(self.choices)
        return Parameter(self.name, 0.0, len(words) - 1.0, choices=words)

    @property
    def places(self) -> Mapping[str, str | float]:
        """What a stored study says of its blocks: nothing, they are not searched."""
        return _NOTHING

    @property
    def layers(self) -> Mapping[str, tuple[str, str]]:
        """Kinds of layers that are searched: none."""
        return {}

    def weights(self, values: Mapping[str, float]) -> BlockWeights:
        """Return the block weights that are chosen."""
        return list(self.choices.values())[int(values[self.name])]

    def values(self, weights: BlockWeights) -> dict[str, float]:
        """Return the parameter's value that means ``weights``.

        Raises:
            StudyError: if none does.
        """
        for place, known in enumerate(self.choices.values()):
            if known == weights:
                return {self.name: float(place)}
        raise StudyError(f"{self.name} is none of its presets there")


def presets_of(
    h: Hyperparameter, config: HyperparameterSpace, architecture: Architecture
) -> Presets:
    """Return the presets that a study file names for a hyperparameter.

    Raises:
        RecipeError: if there are fewer than two, one is none, or the method does not take it.
    """
    if len(set(config.presets)) < 2:
        config.fail("", f"{h.name}: presets must be two or more")
    found: dict[str, BlockWeights] = {}
    for text in config.presets:
        try:
            found[text] = parse_weights(text, architecture, presets=load_presets())
        except BmergeError as error:
            config.fail("", f"{h.name}: {error}", hint=error.hint)
        for value in (found[text].default, *found[text].blocks.values()):
            if problem := h.problem(value):
                config.fail("", f"{h.name}: preset {text}: {problem}")
    return Presets(h.name, h.default, found)
