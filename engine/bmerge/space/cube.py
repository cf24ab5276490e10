"""A search space as a cube: every kind of parameter by coordinates between 0 and 1.

An optimiser that moves points through a cube needs nothing else to take all kinds. Uniform points
of the cube are uniform points of the space: whole numbers and choices are equally likely, weights
that sum to 1 are uniform on their simplex. Pure Python, so that plugins may use it anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from bmerge.records import dataclass
from bmerge.space.protocols import Parameter, Space

__all__ = ["Cube"]


class Cube:
    """The coordinates of a space.

    A float, a logarithm and a whole number have one coordinate each; of two choices there is one,
    of more there is one for each, the greatest of which says which is meant; ``n`` weights of a
    simplex have ``n - 1``, each the share of what the ones before it have left.

    Args:
        space: whose points are meant.
    """

    def __init__(self, space: Space) -> None:
        self._parts = tuple(_parts(space))
        self._names = space.names
        self.width = sum(part.width for part in self._parts)
        """How many coordinates there are."""

    def unit(self, values: Mapping[str, float]) -> list[float]:
        """Return the coordinates of a point of the space."""
        return [x for part in self._parts for x in part.unit(values)]

    def values(self, unit: Sequence[float]) -> dict[str, float]:
        """Return the point of the space, whose parameters are in their order.

        Args:
            unit: ``width`` coordinates within [0, 1].
        """
        found: dict[str, float] = {}
        start = 0
        for part in self._parts:
            found |= part.values([float(x) for x in unit[start : start + part.width]])
            start += part.width
        return {name: found[name] for name in self._names}


class _Part(Protocol):
    """Some parameters and their coordinates."""

    @property
    def width(self) -> int: ...

    def unit(self, values: Mapping[str, float]) -> list[float]: ...

    def values(self, unit: Sequence[float]) -> dict[str, float]: ...


def _parts(space: Space) -> Iterator[_Part]:
    simplices = space.simplices
    for p in space.parameters:
        if p.simplex is not None:
            if members := simplices.pop(p.simplex, None):
                yield _Shares(members)
        elif p.choices:
            yield _Choice(p)
        elif p.integer:
            yield _Whole(p)
        else:
            yield _Float(p)


@dataclass(frozen=True, slots=True)
class _Float:
    """A number, or its logarithm."""

    parameter: Parameter
    width = 1

    def unit(self, values: Mapping[str, float]) -> list[float]:
        p, value = self.parameter, values[self.parameter.name]
        if p.log:
            return [math.log(value / p.low) / math.log(p.high / p.low)]
        return [(value - p.low) / (p.high - p.low)]

    def values(self, unit: Sequence[float]) -> dict[str, float]:
        p = self.parameter
        if p.log:
            value = p.low * (p.high / p.low) ** unit[0]
            return {p.name: min(max(value, p.low), p.high)}
        return {p.name: p.low + unit[0] * (p.high - p.low)}


@dataclass(frozen=True, slots=True)
class _Whole:
    """A whole number, the middle of an equal part of the line; by its logarithm, of a cell."""

    parameter: Parameter
    width = 1

    def unit(self, values: Mapping[str, float]) -> list[float]:
        return self._line.unit(values)

    def values(self, unit: Sequence[float]) -> dict[str, float]:
        p = self.parameter
        value = float(math.floor(self._line.values(unit)[p.name] + 0.5))
        return {p.name: min(max(value, p.low), p.high)}

    @property
    def _line(self) -> _Float:
        p = self.parameter
        return _Float(Parameter(p.name, p.low - 0.5, p.high + 0.5, log=p.log))


@dataclass(frozen=True, slots=True)
class _Choice:
    """One of some words, none of which is between two others."""

    parameter: Parameter

    @property
    def width(self) -> int:
        count = len(self.parameter.choices)
        return 1 if count == 2 else count

    def unit(self, values: Mapping[str, float]) -> list[float]:
        index = int(values[self.parameter.name])
        if self.width == 1:
            return [float(index)]
        return [float(place == index) for place in range(self.width)]

    def values(self, unit: Sequence[float]) -> dict[str, float]:
        if self.width == 1:
            return {self.parameter.name: float(unit[0] > 0.5)}
        return {self.parameter.name: float(max(range(self.width), key=lambda i: unit[i]))}


@dataclass(frozen=True, slots=True)
class _Shares:
    """Weights from 0 that sum to 1, by breaking a stick: each takes a share of the rest.

    The least of n uniform shares is distributed as 1 − (1 − u)^(1/n), which makes uniform
    coordinates uniform on the simplex.
    """

    parameters: tuple[Parameter, ...]

    @property
    def width(self) -> int:
        return len(self.parameters) - 1

    def unit(self, values: Mapping[str, float]) -> list[float]:
        rest, found = 1.0, []
        for place, p in enumerate(self.parameters[:-1]):
            share = min(values[p.name] / rest, 1.0) if rest > 0 else 0.5
            found.append(1 - (1 - share) ** (self.width - place))
            rest -= values[p.name]
        return found

    def values(self, unit: Sequence[float]) -> dict[str, float]:
        rest, found = 1.0, {}
        for place, (p, x) in enumerate(zip(self.parameters, unit, strict=False)):
            found[p.name] = rest * (1 - (1 - x) ** (1 / (self.width - place)))
            rest -= found[p.name]
        return {**found, self.parameters[-1].name: max(rest, 0.0)}
