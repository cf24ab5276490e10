"""The search space: which block weights are searched, within which bounds, and which are not.

Every hyperparameter of the method has a value for every block. Each of those values is frozen,
a dimension of its own, or shares one dimension with other blocks (a group). An optimiser sees
the dimensions only; :class:`SearchSpace` turns its proposals into block weights and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Protocol

from bmerge.errors import StudyError
from bmerge.recipe.schema import BlockWeights
from bmerge.records import dataclass
from bmerge.space.definition import SpaceDefinition
from bmerge.space.points import checked_point
from bmerge.space.protocols import Space

__all__ = ["SearchSpace", "SourceLayout", "ValueSource"]

_TOLERANCE = 1e-9  # of a given weight against a bound or a frozen value: text is decimal


@dataclass(frozen=True, slots=True)
class SourceLayout:
    """Where one hyperparameter's value comes from in each block.

    Args:
        name: of the hyperparameter.
        default: in blocks that are in none of the maps: those without tensors in the models.
        frozen: block → value.
        dimension: block → name of the parameter that sets it.
        layers: pattern of keys → its block, and the name of the parameter that sets it there.
    """

    name: str
    default: float
    frozen: Mapping[str, float]
    dimension: Mapping[str, str]
    layers: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def places(self) -> dict[str, str | float]:
        """Block → its frozen value, or the name of the parameter that sets it."""
        return {**self.frozen, **self.dimension}

    @property
    def dimensions(self) -> list[str]:
        """The parameters that set something, each once, block by block."""
        found = []
        for block in dict.fromkeys((*self.dimension, *(b for b, _ in self.layers.values()))):
            found += [self.dimension[block]] if block in self.dimension else []
            found += [name for other, name in self.layers.values() if other == block]
        return list(dict.fromkeys(found))

    def weights(self, values: Mapping[str, float]) -> BlockWeights:
        """Return the value per block that the parameters' ``values`` mean."""
        blocks = {block: values[name] for block, name in self.dimension.items()}
        blocks = {**self.frozen, **blocks}
        keys = {pattern: values[name] for pattern, (_, name) in self.layers.items()}
        if len({*blocks.values(), *keys.values()}) == 1:
            return BlockWeights(next(iter((*blocks.values(), *keys.values()))))
        return BlockWeights(self.default, blocks, keys)

    def values(self, weights: BlockWeights) -> dict[str, float]:
        """Return the parameters' values that mean ``weights``.

        Raises:
            StudyError: if none do, with the block that is to blame.
        """
        if strange := [pattern for pattern in weights.keys if pattern not in self.layers]:
            pattern = strange[0]
            raise StudyError(f"{self.name} at {pattern} is not searched: it is not a block")
        for block, frozen in self.frozen.items():
            if abs(weights.of(block) - frozen) > _TOLERANCE:
                message = f"{self.name} at {block} is {weights.of(block):g}, but frozen at"
                raise StudyError(f"{message} {frozen:g}")
        found: dict[str, float] = {}
        places = [(block, name, weights.of(block)) for block, name in self.dimension.items()]
        for pattern, (block, name) in self.layers.items():
            places.append((block, name, weights.of(block, (pattern,))))
        for block, name, value in places:
            if abs(found.setdefault(name, value) - value) > _TOLERANCE:
                message = f"{self.name} at {block} is {value:g}, elsewhere in {name}"
                raise StudyError(f"{message} {found[name]:g}")
        return found


class ValueSource(Protocol):
    """Where the values of a hyperparameter, or of a choice, come from."""

    @property
    def name(self) -> str:
        """Of the hyperparameter."""

    @property
    def default(self) -> float:
        """Where a merge gives no other value."""

    @property
    def places(self) -> Mapping[str, str | float]:
        """Block → its frozen value, or the name of the parameter that sets it."""

    @property
    def layers(self) -> Mapping[str, tuple[str, str]]:
        """Pattern of keys → its block, and the name of the parameter that sets it there."""

    def weights(self, values: Mapping[str, float], /) -> BlockWeights:
        """Return what the parameters' ``values`` mean."""

    def values(self, weights: BlockWeights, /) -> dict[str, float]:
        """Return the parameters' values that mean ``weights``, or raise StudyError."""


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The dimensions of a study and what they mean.

    Args:
        space: what the optimiser sees.
        layouts: one for each hyperparameter of the method, and for each choice.
    """

    space: Space
    layouts: tuple[ValueSource, ...]

    def weights(self, values: Mapping[str, float]) -> dict[str, BlockWeights]:
        """Return hyperparameter → block weights for one point of the space."""
        return {layout.name: layout.weights(values) for layout in self.layouts}

    def values(self, weights: Mapping[str, BlockWeights]) -> dict[str, float]:
        """Return the point of the space that means ``weights``.

        Args:
            weights: hyperparameter → block weights; one that is left out has its default.

        Raises:
            StudyError: if no point does, with the block or the bound that is to blame.
        """
        found: dict[str, float] = {}
        for layout in self.layouts:
            found |= layout.values(weights.get(layout.name, BlockWeights(layout.default)))
        try:
            return checked_point(self.space, {name: found[name] for name in self.space.names})
        except ValueError as error:
            raise StudyError(str(error)) from error

    def centre(self) -> dict[str, float]:
        """Return the middle of every dimension."""
        return self.space.centre()

    def describe(self) -> SpaceDefinition:
        """Return it as it is stored with the study."""
        log = {p.name for p in self.space.parameters if p.integer and p.log}
        return SpaceDefinition(
            parameters={p.name: (p.low, p.high) for p in self.space.parameters},
            blocks={layout.name: dict(layout.places) for layout in self.layouts},
            layers={
                layout.name: {pattern: name for pattern, (_, name) in layout.layers.items()}
                for layout in self.layouts
                if layout.layers
            },
            kinds={
                p.name: (p.kind, *(["log"] if p.name in log else []), *p.choices)
                for p in self.space.parameters
                if p.kind != "float"
            },
        )
