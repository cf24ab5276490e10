"""``grid``: every combination of a few values, for spaces of a few dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from bmerge import Cube, OptimiserKind, Parameter, PluginError, Result, Space, StudyError, hookimpl

__all__ = ["Grid", "bmerge_optimisers"]

_LARGEST = 100_000


class Grid:
    """Proposes the points of a grid in a random order, so that it may be stopped at any time.

    Args:
        space: the dimensions.
        seed: of the order.
        budget: not used.
        points: values of each dimension, from its least to its greatest; whole numbers and choices
            have no more than there are.

    Raises:
        PluginError: if the grid has more than 100,000 points.
    """

    def __init__(self, space: Space, seed: int, budget: int, *, points: int = 5) -> None:  # noqa: ARG002
        if points < 2:
            raise PluginError(f"points is {points}, must be 2 or more", plugin="grid")
        self._axes = {p.name: _values(p, points) for p in space.parameters}
        self._size = math.prod(map(len, self._axes.values()))
        if self._size > _LARGEST:
            message = f"a grid over {len(self._axes)} dimensions has {self._size:.3g} points"
            hint = f"no more than {_LARGEST:,}: search groups of blocks, or per: single"
            raise PluginError(message, plugin="grid", hint=hint)
        self._seed, self._asks = seed, 0

    def ask(self) -> Mapping[str, float]:
        """Return the next point.

        Raises:
            StudyError: if all were asked for.
        """
        import numpy as np

        if self._asks >= self._size:
            raise StudyError(f"all {self._size} points of the grid were tried")
        order = np.random.default_rng(self._seed).permutation(self._size)
        index = int(order[self._asks])
        self._asks += 1
        values = {}
        for name, axis in self._axes.items():
            index, place = divmod(index, len(axis))
            values[name] = axis[place]
        return values

    def tell(self, result: Result) -> None:
        """Learn nothing."""

    def replay(self, results: Sequence[Result]) -> None:
        """Count the points that were proposed already."""
        self._asks = sum(result.proposed for result in results)


def _values(p: Parameter, points: int) -> list[float]:
    """Return the values of a dimension, each once."""
    if p.choices or (p.integer and p.high - p.low < points):
        return [p.low + place for place in range(int(p.high - p.low) + 1)]
    cube = Cube(Space((p,)))
    found = (cube.values([place / (points - 1)])[p.name] for place in range(points))
    return list(dict.fromkeys(found))


@hookimpl
def bmerge_optimisers() -> Iterable[OptimiserKind]:
    """Offer ``grid``."""
    return [
        OptimiserKind(
            "grid",
            Grid,
            "every combination of a few values",
            several_objectives=True,
            takes=("float", "log", "integer", "categorical"),
            needs=("optuna", "numpy"),
        )
    ]
