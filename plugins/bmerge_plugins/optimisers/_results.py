"""The results that an optimiser was told, as a Gaussian process takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bmerge import Cube, Result, Space

if TYPE_CHECKING:
    from bmerge_plugins.gaussian.bounds import Box
    from bmerge_plugins.gaussian.evidence import Told
    from bmerge_plugins.gaussian.kernel import Array

__all__ = ["Results"]


class Results:
    """What was told, and what was asked for and not told yet.

    Args:
        space: the dimensions.
    """

    def __init__(self, space: Space) -> None:
        self.cube, self.centre = Cube(space), space.centre()
        self.stepped = any(p.kind in ("integer", "categorical") for p in space.parameters)
        """Whether many coordinates mean the same point of the space."""
        self.told: list[Result] = []
        self.asks = 0
        self._flying: list[dict[str, float]] = []

    def propose(self, unit: Sequence[float]) -> dict[str, float]:
        """Return the point of the space that is asked for, and remember it until it is told."""
        values = self.cube.values(unit)
        self.asks += 1
        self._flying.append(values)
        return values

    def tell(self, result: Result) -> None:
        """Keep a result."""
        self.told.append(result)
        if result.proposed and (values := dict(result.values)) in self._flying:
            self._flying.remove(values)

    def replay(self, results: Sequence[Result]) -> None:
        """Keep what earlier runs did."""
        self.told = list(results)
        self.asks = sum(result.proposed for result in results)

    def snapped(self, units: Array) -> Array:
        """Return rows of coordinates as they are told once what they mean was tried."""
        import numpy as np

        rows = [self.cube.unit(self.cube.values(row)) for row in units.tolist()]
        return np.array(rows, dtype=np.float64).reshape(units.shape)

    def box(self, told: Told) -> Box:
        """Return a box around the best complete trial, which closes in where it yields nothing.

        Args:
            told: everything that was told, see :meth:`scored`.
        """
        import numpy as np

        from bmerge_plugins.gaussian.bounds import around_best

        sure = [result.score is not None and not result.pruned for result in self.told]
        asked = [result.proposed for result in self.told]
        return around_best(told.points, told.scores, np.array(sure), np.array(asked))

    @property
    def flying(self) -> Array:
        """The coordinates of what is evaluated now."""
        import numpy as np

        units = [self.cube.unit(values) for values in self._flying]
        return np.array(units).reshape(len(units), self.cube.width)

    def scored(self) -> Told:
        """Return everything that was told.

        A failed trial counts as the worst score, so that its surroundings are avoided; where all
        have failed, all are equal.
        """
        import numpy as np

        from bmerge_plugins.gaussian.evidence import Told

        worst = min((r.score for r in self.told if r.score is not None), default=0.0)
        points = [self.cube.unit(result.values) for result in self.told]
        scores = [worst if r.score is None else r.score for r in self.told]
        names = dict.fromkeys(name for result in self.told for name in result.by_picture)
        column = {name: place for place, name in enumerate(names)}
        pictures = np.full((len(points), len(column)), np.nan)
        for row, result in enumerate(self.told):
            for name, score in result.by_picture.items():
                pictures[row, column[name]] = score
        return Told(
            np.array(points).reshape(len(points), self.cube.width),
            np.array(scores, dtype=np.float64),
            np.array([r.variance for r in self.told], dtype=np.float64),
            pictures,
        )
