"""``random``: uniform points of the space; what every optimiser must beat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bmerge import Cube, OptimiserKind, Result, Space, hookimpl
from bmerge_plugins.optimisers._common import ALL_KINDS

__all__ = ["Random", "bmerge_optimisers"]


class Random:
    """Proposes uniform points, each from the seed and its number alone.

    Args:
        space: the dimensions.
        seed: equal seeds propose equal points.
        budget: not used.
    """

    def __init__(self, space: Space, seed: int, budget: int) -> None:  # noqa: ARG002
        self._cube = Cube(space)
        self._seed = seed
        self._asks = 0

    def ask(self) -> Mapping[str, float]:
        """Return the next point."""
        import numpy as np

        rng = np.random.default_rng((self._seed, self._asks))
        self._asks += 1
        return self._cube.values(rng.random(self._cube.width).tolist())

    def tell(self, result: Result) -> None:
        """Learn nothing."""

    def replay(self, results: Sequence[Result]) -> None:
        """Count the points that were proposed already."""
        self._asks = sum(result.proposed for result in results)


@hookimpl
def bmerge_optimisers() -> Iterable[OptimiserKind]:
    """Offer ``random``."""
    return [
        OptimiserKind(
            "random",
            Random,
            "uniform points of the space",
            several_objectives=True,
            takes=ALL_KINDS,
            needs=("optuna", "numpy"),
        )
    ]
