"""``cmaes``: evolution by an adapted normal distribution, the ``cmaes`` package's.

Its state follows from the seed and the asks and tells in their order, so a study is resumed by
making them again. Nothing is unpickled: Optuna's own sampler of this kind keeps pickles in the
database, which would run code of whoever wrote it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from bmerge import Cube, OptimiserKind, PluginError, Result, Space, hookimpl
from bmerge_plugins.optimisers._common import ALL_KINDS

if TYPE_CHECKING:
    import numpy as np
    from cmaes import CMA
    from numpy.typing import NDArray

    Point = NDArray[np.float64]

__all__ = ["Evolution", "bmerge_optimisers"]

_logger = logging.getLogger(__name__)


class Evolution:
    """Samples generations from a normal distribution and moves it to where the best ones were.

    It begins at the best point that is known when it is first asked. Where the distribution has
    shrunk to nothing it begins anew at a random point, with twice as many samples.

    Args:
        space: the dimensions; scaled to [0, 1].
        seed: equal seeds and results propose equal points.
        budget: not used.
        sigma: standard deviation at the beginning, in parts of each dimension's width.
        population: points of a generation, 4 or more; None for 4 + 3 ln(dimensions).

    Raises:
        PluginError: if an option makes no sense.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        budget: int,  # noqa: ARG002
        *,
        sigma: float = 0.1,
        population: int | None = None,
    ) -> None:
        if not sigma > 0:
            raise PluginError(f"sigma is {sigma}, must be above 0", plugin="cmaes")
        if population is not None and population < 4:
            raise PluginError(f"population is {population}, must be 4 or more", plugin="cmaes")
        self._cube, self._seed, self._sigma, self._population = Cube(space), seed, sigma, population
        self._strategy: CMA | None = None
        self._restarts = self._asks = 0
        self._pending: list[tuple[Mapping[str, float], Point]] = []
        self._told: list[tuple[Point, float]] = []
        self._best: Result | None = None
        self._worst: float | None = None

    def ask(self) -> Mapping[str, float]:
        """Return a sample."""
        from threadpoolctl import threadpool_limits

        self._asks += 1
        with threadpool_limits(1):  # sums must not depend on the number of cores
            if self._strategy is None:
                self._strategy = self._begin()
            unit = self._strategy.ask()
        values = self._cube.values(unit)
        self._pending.append((values, unit))
        return values

    def tell(self, result: Result) -> None:
        """Take a result; those of a generation move the distribution together.

        A failed trial counts as the worst so far, a point that was not asked for only as one to
        begin at.
        """
        self._note(result)
        if not result.proposed:
            return
        known = [
            place for place, (values, _) in enumerate(self._pending) if values == result.values
        ]
        if not known:
            _logger.warning("cmaes did not propose trial %d again", result.number)
            return
        _, unit = self._pending.pop(known[0])
        score = (self._worst or 0.0) if result.score is None else result.score
        self._told.append((unit, -score))
        self._move()

    def replay(self, results: Sequence[Result]) -> None:
        """Make the asks and tells of the earlier runs again."""
        for result in results:
            while self._asks < result.asks_before:
                self.ask()
            self.tell(result)

    def _note(self, result: Result) -> None:
        """Keep the best result and the worst score."""
        if result.score is None:
            return
        if self._best is None or self._best.score is None or result.score > self._best.score:
            self._best = result
        self._worst = result.score if self._worst is None else min(self._worst, result.score)

    def _begin(self) -> CMA:
        """Return a new strategy: at the best point, or for a restart at a random one."""
        import numpy as np
        from cmaes import CMA

        dimensions = self._cube.width
        seed = np.random.SeedSequence((self._seed, self._restarts))
        mean = np.full(dimensions, 0.5)
        if self._restarts:
            mean = np.random.default_rng(seed).random(dimensions)
        elif self._best is not None:
            mean = np.array(self._cube.unit(self._best.values))
        size = self._population or 4 + int(3 * np.log(dimensions))
        return CMA(
            mean=mean,
            sigma=self._sigma,
            bounds=np.tile([0.0, 1.0], (dimensions, 1)),
            seed=int(seed.generate_state(1)[0]),
            population_size=size * 2**self._restarts,
        )

    def _move(self) -> None:
        from threadpoolctl import threadpool_limits

        strategy = self._strategy
        assert strategy is not None
        if len(self._told) < strategy.population_size:
            return
        with threadpool_limits(1):
            strategy.tell(self._told)
            self._told = []
            if strategy.should_stop():
                self._restarts += 1
                self._strategy = None


@hookimpl
def bmerge_optimisers() -> Iterable[OptimiserKind]:
    """Offer ``cmaes``."""
    return [
        OptimiserKind(
            "cmaes",
            Evolution,
            "evolution strategy CMA-ES",
            takes=ALL_KINDS,
            needs=("cmaes", "numpy", "threadpoolctl"),
        )
    ]
