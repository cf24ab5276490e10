"""``coordinate``: block by block, greedily, as auto-MBW searches.

From the best point so far, one dimension after the other takes the value that is best there; after
the last one comes another pass, in half as wide a window around each value. Pure Python.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from bmerge import Cube, OptimiserKind, PluginError, Result, Space, StudyError, hookimpl
from bmerge_plugins.optimisers._common import ALL_KINDS

__all__ = ["Coordinate", "bmerge_optimisers"]

_Axis = tuple[int, int]
"""Where the coordinates of a dimension begin, and how many there are."""


class Coordinate:
    """Changes one dimension at a time and keeps what is better.

    Args:
        space: the dimensions.
        seed: not used: nothing is random.
        budget: not used.
        search: ``linear`` tries ``points`` values of each dimension; ``binary`` tries one below and
            one above the best value, at half the distance each time, ``points`` times.
        points: of each dimension in a pass.
        passes: after which nothing is left to propose; 0 continues as long as it is asked.
        order: of the dimensions: from the ``middle`` outwards, as the blocks of a U-Net matter, or
            as the ``space`` has them.

    Raises:
        PluginError: if an option makes no sense.
    """

    def __init__(
        self,
        space: Space,
        seed: int,  # noqa: ARG002
        budget: int,  # noqa: ARG002
        *,
        search: Literal["linear", "binary"] = "linear",
        points: int = 3,
        passes: int = 0,
        order: Literal["middle", "space"] = "middle",
    ) -> None:
        least = 2 if search == "linear" else 1
        if points < least:
            raise PluginError(f"points is {points}, must be {least} or more", plugin="coordinate")
        if passes < 0:
            raise PluginError(f"passes is {passes}, must be 0 or more", plugin="coordinate")
        self._space, self._cube = space, Cube(space)
        self._binary, self._points, self._passes = search == "binary", points, passes
        self._axes = list(_axes(space))
        if order == "middle":
            middle = self._cube.width / 2
            self._axes.sort(key=lambda axis: abs(axis[0] + axis[1] / 2 - middle))
        self._best: tuple[float, list[float]] | None = None
        self._asks = 0
        self._walk = self._steps()

    def ask(self) -> Mapping[str, float]:
        """Return the next step.

        Raises:
            StudyError: if all passes are over.
        """
        self._asks += 1
        unit = next(self._walk, None)
        if unit is None:
            raise StudyError("coordinate has tried every step of its passes")
        return self._cube.values(unit)

    def tell(self, result: Result) -> None:
        """Keep the point if it is the best one."""
        if result.score is not None and (self._best is None or result.score > self._best[0]):
            self._best = (result.score, self._cube.unit(result.values))

    def replay(self, results: Sequence[Result]) -> None:
        """Walk the same steps again."""
        for result in results:
            while self._asks < result.asks_before:
                self.ask()
            self.tell(result)

    def _steps(self) -> Iterator[list[float]]:
        """Yield the coordinates to be tried; the best point is looked up when each is asked for."""
        if self._best is None:
            yield self._centre
        for number in range(self._passes) if self._passes else itertools.count():
            steps = 0
            for axis in self._axes:
                for unit in self._along(axis, 0.5**number):
                    steps += 1
                    yield unit
            if not steps:
                return

    def _along(self, axis: _Axis, window: float) -> Iterator[list[float]]:
        """Yield what is to be tried of one dimension, but for what the best point has."""
        start, width = axis
        low = min(max(self._known[start] - window / 2, 0.0), 1.0 - window)
        if width > 1:
            several = ([float(i == place) for i in range(width)] for place in range(width))
        elif self._binary:
            distances = (window / 2 ** (step + 2) for step in range(self._points))
            signed = (sign * distance for distance in distances for sign in (-1, 1))
            several = ([min(max(self._known[start] + step, 0.0), 1.0)] for step in signed)
        else:
            last = self._points - 1
            several = ([low + window * place / last] for place in range(self._points))
        for coordinates in several:
            known = self._known
            unit = [*known[:start], *coordinates, *known[start + width :]]
            if self._cube.values(unit) != self._cube.values(known):
                yield unit

    @property
    def _known(self) -> list[float]:
        """The best point; the centre as long as none was scored."""
        return self._centre if self._best is None else self._best[1]

    @property
    def _centre(self) -> list[float]:
        return self._cube.unit(self._space.centre())


def _axes(space: Space) -> Iterator[_Axis]:
    """Yield the axes in the order of the cube's coordinates; those of a simplex are one each."""
    start, simplices = 0, space.simplices
    for p in space.parameters:
        if p.simplex is None:
            widths = [Cube(Space((p,))).width]
        else:
            widths = [1] * (len(simplices.pop(p.simplex, ())) - 1)
        for width in widths:
            yield start, width
            start += width


@hookimpl
def bmerge_optimisers() -> Iterable[OptimiserKind]:
    """Offer ``coordinate``."""
    summary = "block by block, greedily, in passes"
    return [OptimiserKind("coordinate", Coordinate, summary, takes=ALL_KINDS)]
