"""``bayes``: the Gaussian process of the bayesian-optimization library.

The process is fitted anew to all results at every ask, with a random state made from the seed
and the ask's number: nothing but the results decides a proposal, so resuming is exact.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from bmerge import Cube, OptimiserKind, Result, Space, hookimpl
from bmerge_plugins.optimisers._common import ALL_KINDS

if TYPE_CHECKING:
    from bayes_opt import BayesianOptimization  # type: ignore[import-untyped]
    from sklearn.gaussian_process.kernels import Matern  # type: ignore[import-untyped]

__all__ = ["Bayes", "bmerge_optimisers"]

_ACQUISITIONS = ("ei", "ucb", "poi")


class Bayes:
    """Proposes the maximum of an acquisition function over a Gaussian process.

    Args:
        space: the dimensions; the process sees each scaled to [0, 1].
        seed: equal seeds and results propose equal points.
        budget: not used.
        acquisition: ``ei`` (expected improvement), ``ucb`` (mean + kappa · deviation) or
            ``poi`` (probability of improvement).
        kappa: how much ``ucb`` values uncertainty.
        kappa_decay: factor on kappa for each ask after the first ``kappa_decay_delay``.
        kappa_decay_delay: asks without decay.
        xi: improvement that ``ei`` and ``poi`` ask for.
        noise: variance of the scores' noise, as a part of the scores' variance.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        budget: int,  # noqa: ARG002
        *,
        acquisition: Literal["ei", "ucb", "poi"] = "ei",
        kappa: float = 2.576,
        kappa_decay: float = 1.0,
        kappa_decay_delay: int = 0,
        xi: float = 0.0,
        noise: float = 1e-4,
    ) -> None:
        self._cube = Cube(space)
        self._seed = seed
        self._acquisition, self._xi, self._noise = acquisition, xi, noise
        self._kappa, self._decay, self._delay = kappa, kappa_decay, kappa_decay_delay
        self._results: list[Result] = []
        self._asks = 0

    def ask(self) -> Mapping[str, float]:
        """Fit the process and return the point that promises most.

        One thread: the matrices are small, and sums must not depend on the number of cores.
        """
        from bayes_opt import UtilityFunction
        from threadpoolctl import threadpool_limits

        kappa = self._kappa * self._decay ** max(0, self._asks - self._delay)
        process = self._process()
        self._asks += 1
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sklearn's and scipy's, of fits that hit a bound
            found = process.suggest(UtilityFunction(self._acquisition, kappa=kappa, xi=self._xi))
        return self._cube.values([found[_key(i)] for i in range(self._cube.width)])

    def tell(self, result: Result) -> None:
        """Keep the result."""
        self._results.append(result)

    def replay(self, results: Sequence[Result]) -> None:
        """Keep the results and count the asks."""
        self._results = list(results)
        self._asks = sum(result.proposed for result in results)

    def _process(self) -> BayesianOptimization:
        """Return the library's optimiser with all points registered."""
        import numpy as np
        from bayes_opt import BayesianOptimization

        bounds = {_key(i): (0.0, 1.0) for i in range(self._cube.width)}
        state = np.random.SeedSequence((self._seed, self._asks)).generate_state(1)
        process = BayesianOptimization(None, bounds, random_state=int(state[0]), verbose=0)
        process.set_gp_params(alpha=self._noise, kernel=_kernel(len(bounds)))
        for point, score in self._points().items():
            process.register(dict(zip(bounds, point, strict=True)), score)
        return process

    def _points(self) -> dict[tuple[float, ...], float]:
        """Return point → mean score: a point may have been tried twice, the library takes one.

        A failed trial counts as the worst score, so that its surroundings are avoided.
        """
        scores = [r.score for r in self._results if r.score is not None]
        if not scores:
            return {}
        points: dict[tuple[float, ...], list[float]] = {}
        for result in self._results:
            unit = tuple(self._cube.unit(result.values))
            score = min(scores) if result.score is None else result.score
            points.setdefault(unit, []).append(score)
        return {point: sum(scores) / len(scores) for point, scores in points.items()}


def _kernel(dimensions: int) -> Matern:
    """Return the library's kernel with its length scale kept in reason.

    Points of the unit cube are about 0.4 √dimensions apart. From few points the fit can take a
    length scale far below that; the process then is flat between them and proposes at random.
    """
    from sklearn.gaussian_process.kernels import Matern

    unit = math.sqrt(dimensions)
    return Matern(nu=2.5, length_scale=unit, length_scale_bounds=(0.2 * unit, 10 * unit))


def _key(index: int) -> str:
    """Return the library's name of a dimension; it sorts by name."""
    return f"{index:05d}"


@hookimpl
def bmerge_optimisers() -> Iterable[OptimiserKind]:
    """Offer ``bayes``."""
    return [
        OptimiserKind(
            "bayes",
            Bayes,
            "Gaussian process of bayesian-optimization",
            takes=ALL_KINDS,
            needs=("bayes_opt", "sklearn", "numpy", "threadpoolctl"),
        )
    ]
