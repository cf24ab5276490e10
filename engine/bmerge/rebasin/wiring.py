"""What is wired to what in a model: which axes of which tensors run over the same channels.

A *space* is one set of channels whose order is nobody's business but the model's own. Every axis
that runs over it must be put into the same order; then the model computes what it did. The rules
that know an architecture (:mod:`bmerge.rebasin.unet`, :mod:`bmerge.rebasin.towers`) follow the
data from the input to the output and note it here, layer by layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias

from bmerge.errors import ArchitectureError
from bmerge.rebasin.structure import AlikeParts, Cell, Fixed, Free, Structure, nested
from bmerge.records import dataclass

__all__ = ["FIXED", "Axis", "Segment", "Wiring"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of an axis: it runs over ``length`` channels of a space, from ``start`` on."""

    space: str
    start: int
    length: int


Axis: TypeAlias = "tuple[Segment, ...]"
"""What an axis runs over, in order: concatenated channels are several segments."""

FIXED: Axis = ()
"""An axis whose order the outside world knows: latents, pictures, tokens, text features."""


@dataclass(slots=True)
class Wiring:
    """Collects the spaces and axes of a model while a rule follows its data.

    Args:
        shapes: key → shape, of all tensors.
        groups: how many groups its group normalisations have.
        axes: key → what its axes run over, from the first; axes that are left out are fixed.
        sizes: space → how many channels it has, in the order of the data.
    """

    shapes: Mapping[str, tuple[int, ...]]
    groups: int
    axes: dict[str, tuple[Axis, ...]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    _groupings: dict[str, list[list[Cell]]] = field(default_factory=dict)
    _heads: dict[str, int] = field(default_factory=dict)

    @property
    def structures(self) -> dict[str, Structure]:
        """Space → the orders of its channels that are valid, in the order of the data."""
        return {name: self._structure(name) for name in self.sizes}

    def has(self, layer: str) -> bool:
        """Tell whether there is a layer of that name."""
        return layer + ".weight" in self.shapes

    def width(self, layer: str) -> int:
        """Return how many channels a layer gives.

        Raises:
            ArchitectureError: if there is no such layer.
        """
        return self._shape(layer + ".weight")[0]

    def numbered(self, prefix: str) -> list[str]:
        """Return the prefixes of the parts 0, 1, … that are there, in order."""
        numbers = {
            int(key.removeprefix(prefix).partition(".")[0])
            for key in self.shapes
            if key.startswith(prefix)
        }
        return [f"{prefix}{number}." for number in sorted(numbers)]

    def space(self, name: str, size: int) -> Axis:
        """Return the axis over a new space, whose channels may come in any order."""
        self.sizes[name] = size
        return (Segment(name, 0, size),)

    def heads(self, name: str, width: int, count: int) -> tuple[Axis, Axis]:
        """Return the axes over an attention's queries (and keys) and over its values.

        Heads may change places, and channels within a head; of queries and keys alike, and
        apart from them of values.
        """
        self._heads[name] = count
        self.sizes[name] = 2 * width
        return (Segment(name, 0, width),), (Segment(name, width, width),)

    def layer(self, name: str, into: Axis, out: Axis | None = None) -> Axis:
        """Note a linear layer or convolution.

        Args:
            name: its keys without ``.weight`` and ``.bias``.
            into: what it takes.
            out: what it gives, if that is known: a residual sum, or heads.

        Returns:
            What it gives.
        """
        given = self.space(name, self.width(name)) if out is None else out
        self.tie(name + ".weight", given, into)
        self.scale(name, given, weight=False)
        return given

    def scale(self, name: str, axis: Axis, *, weight: bool = True) -> None:
        """Note a weight and bias per channel, as layer normalisations have them."""
        for part in ("weight", "bias") if weight else ("bias",):
            if f"{name}.{part}" in self.shapes:
                self.tie(f"{name}.{part}", axis)

    def norm(self, name: str, axis: Axis) -> None:
        """Note a group normalisation: what shares a group must continue sharing one."""
        self.scale(name, axis)
        width = self.width(name)
        size, rest = divmod(width, self.groups)
        if rest:
            message = f"{name!r} has {width} channels, which {self.groups} groups cannot share"
            raise ArchitectureError(message)
        begin = 0
        for segment in axis:
            self._groupings.setdefault(segment.space, []).append(_cells(segment, begin, size, name))
            begin += segment.length

    def tie(self, key: str, *axes: Axis) -> None:
        """Note what the axes of a tensor run over.

        Raises:
            ArchitectureError: if it is not there, or has another extent.
        """
        for extent, axis in zip(self._shape(key), axes, strict=False):
            length = sum(segment.length for segment in axis)
            if axis and length != extent:
                message = f"{key!r} has {extent} channels where {length} come in"
                raise ArchitectureError(message, hint="is this another architecture?")
        self.axes[key] = axes

    def _shape(self, key: str) -> tuple[int, ...]:
        try:
            return self.shapes[key]
        except KeyError:
            message = f"there is no tensor {key!r}"
            raise ArchitectureError(message, hint="is this another architecture?") from None

    def _structure(self, name: str) -> Structure:
        size = self.sizes[name]
        if name in self._heads:
            return _headed(size // 2, self._heads[name])
        return nested(0, size, self._groupings.get(name, ()))


def _cells(segment: Segment, begin: int, size: int, name: str) -> list[Cell]:
    """Return the groups that channels form which come after ``begin`` others."""
    end = begin + segment.length
    cells: list[Cell] = []
    for first in range(begin - begin % size, end, size):
        inside = max(first, begin), min(first + size, end)
        whole = inside[1] - inside[0] == size
        # A group that other channels share is like no other: it stays where it is.
        cells.append((inside[0] - begin, inside[1] - begin, None if whole else f"{name} {first}"))
    return cells


def _headed(width: int, count: int) -> Structure:
    size = width // count
    parts: list[Structure] = [
        Fixed((Free(at, at + size), Free(width + at, width + at + size)))
        for at in range(0, width, size)
    ]
    return AlikeParts(tuple(parts)) if count > 1 else parts[0]
