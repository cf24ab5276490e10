"""``qmc``: points that fill the space evenly, more so than ``random`` does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from bmerge import Cube, OptimiserKind, Result, Space, hookimpl
from bmerge_plugins.optimisers._common import ALL_KINDS

__all__ = ["QuasiRandom", "bmerge_optimisers"]


class QuasiRandom:
    """Proposes the points of a scrambled low-discrepancy sequence, one after the other.

    Args:
        space: the dimensions.
        seed: scrambles the sequence.
        budget: not used.
        sequence: ``sobol``, even at powers of two, or ``halton``, at any number.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        budget: int,  # noqa: ARG002
        *,
        sequence: Literal["sobol", "halton"] = "sobol",
    ) -> None:
        self._cube, self._seed, self._sequence = Cube(space), seed, sequence
        self._asks = 0

    def ask(self) -> Mapping[str, float]:
        """Return the next point."""
        import numpy as np
        from scipy.stats import qmc  # type: ignore[import-untyped]

        make = qmc.Sobol if self._sequence == "sobol" else qmc.Halton
        # the study's own initial design scrambles by the seed alone; these are other points
        points = make(self._cube.width, rng=np.random.default_rng((self._seed, 1)))
        if self._asks:
            points.fast_forward(self._asks)
        self._asks += 1
        return self._cube.values(points.random(1)[0].tolist())

    def tell(self, result: Result) -> None:
        """Learn nothing."""

    def replay(self, results: Sequence[Result]) -> None:
        """Count the points that were proposed already."""
        self._asks = sum(result.proposed for result in results)


@hookimpl
def bmerge_optimisers() -> Iterable[OptimiserKind]:
    """Offer ``qmc``."""
    return [
        OptimiserKind(
            "qmc",
            QuasiRandom,
            "points that fill the space evenly",
            several_objectives=True,
            takes=ALL_KINDS,
            needs=("scipy", "numpy"),
        )
    ]
