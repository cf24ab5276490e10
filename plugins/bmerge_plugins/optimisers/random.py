"""``random``: uniform points of the space; what every optimiser must beat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bmerge import OptimiserKind, Result, Space, hookimpl

__all__ = ["Random", "bmerge_optimisers"]


class Random:
    """Proposes uniform points, each from the seed and its number alone.

    Args:
        space: the dimensions.
        seed: equal seeds propose equal points.
        budget: not used.
    """

    def __init__(self, space: Space, seed: int, budget: int) -> None:  # noqa: ARG002
        self._space = space
        self._seed = seed
        self._asks = 0

    def ask(self) -> Mapping[str, float]:
        """Return the next point."""
        import numpy as np

        rng = np.random.default_rng((self._seed, self._asks))
        self._asks += 1
        unit = rng.random(len(self._space.parameters))
        pairs = zip(self._space.parameters, unit, strict=True)
        return {p.name: p.low + float(x) * (p.high - p.low) for p, x in pairs}

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
            needs=("numpy",),
        )
    ]
