"""``bayes``: Bayesian optimisation as the tools before this one had it, in hundredths of a second.

A Gaussian process with one length scale for all dimensions, an acquisition function to choose, an
exploration that may decay and bounds that may close in on the best. The process is fitted anew to
all results at every ask, with random numbers from the seed and the ask's number: nothing but the
results decides a proposal, so resuming is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from bmerge import OptimiserKind, PluginError, Result, Space, hookimpl
from bmerge_plugins.optimisers._common import ALL_KINDS
from bmerge_plugins.optimisers._results import Results

if TYPE_CHECKING:
    from collections.abc import Callable

    from bmerge_plugins.gaussian.acquisition import Acquisition
    from bmerge_plugins.gaussian.bounds import Box
    from bmerge_plugins.gaussian.evidence import Told

__all__ = ["Bayes", "bmerge_optimisers"]


class Bayes:
    """Proposes the maximum of an acquisition function over a Gaussian process.

    Args:
        space: the dimensions; the process sees a cube.
        seed: equal seeds and results propose equal points.
        budget: not used.
        acquisition: ``ucb`` (mean + kappa · deviation), ``ei`` (expected improvement) or ``poi``
            (probability of improvement).
        kappa: how much ``ucb`` values uncertainty.
        kappa_decay: factor on kappa for each ask after the first ``kappa_decay_delay``.
        kappa_decay_delay: asks without decay.
        xi: improvement that ``ei`` and ``poi`` ask for, in standard deviations of the scores.
        noise: variance of the scores' noise beside the one that is told, as a part of the
            scores' variance.
        scales: ``one`` length scale for all dimensions, or one for ``each``.
        reduce: whether bounds close in on the best point (sequential domain reduction).
        gamma_osc: of that, the contraction where the best swings.
        gamma_pan: the contraction where the best moves on.
        eta: the contraction where the best stays.
        minimum_window: least width of the bounds, as a part of each dimension's.

    Raises:
        PluginError: if an option makes no sense.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        budget: int,  # noqa: ARG002
        *,
        acquisition: Literal["ucb", "ei", "poi"] = "ucb",
        kappa: float = 2.576,
        kappa_decay: float = 1.0,
        kappa_decay_delay: int = 0,
        xi: float = 0.0,
        noise: float = 1e-4,
        scales: Literal["one", "each"] = "one",
        reduce: bool = False,
        gamma_osc: float = 0.7,
        gamma_pan: float = 1.0,
        eta: float = 0.9,
        minimum_window: float = 0.0,
    ) -> None:
        _check(kappa=kappa, kappa_decay=kappa_decay, noise=noise, minimum_window=minimum_window)
        self._results, self._seed = Results(space), seed
        self._acquisition, self._xi, self._noise = acquisition, xi, noise
        self._kappa, self._decay, self._delay = kappa, kappa_decay, kappa_decay_delay
        self._alike, self._reduces = scales == "one", reduce
        self.expected_gain: float | None = None
        self._reduction = (gamma_osc, gamma_pan, eta, minimum_window)

    def ask(self) -> Mapping[str, float]:
        """Fit the process and return the point that promises most.

        One thread: the matrices are small, and sums must not depend on the number of cores.
        """
        import numpy as np
        from threadpoolctl import threadpool_limits

        from bmerge_plugins.gaussian.evidence import evidence_of
        from bmerge_plugins.gaussian.fit import fit
        from bmerge_plugins.gaussian.proposing import proposal

        results = self._results
        rng = np.random.default_rng((self._seed, results.asks))
        if not results.told:
            return results.propose(rng.random(results.cube.width).tolist())
        told = results.scored()
        with threadpool_limits(1):
            evidence, scale = evidence_of(told)
            promising = proposal(
                fit(evidence, alike=self._alike, noise=self._noise).process,
                scale,
                results.flying,
                self._promise(),
                rng,
                box=self._box(told),
                snap=results.snapped if results.stepped else None,
            )
        self.expected_gain = promising.gain
        return results.propose(promising.point.tolist())

    def tell(self, result: Result) -> None:
        """Keep the result."""
        self._results.tell(result)

    def replay(self, results: Sequence[Result]) -> None:
        """Keep the results and count the asks."""
        self._results.replay(results)

    def _promise(self) -> Callable[[float], Acquisition]:
        """Return the acquisition, given the best expected score."""
        from bmerge_plugins.gaussian.acquisition import (
            expected_improvement,
            improvement_chance,
            upper_bound,
        )

        if self._acquisition == "ucb":
            kappa = self._kappa * self._decay ** max(0, self._results.asks - self._delay)
            return lambda _: upper_bound(kappa)
        promise = expected_improvement if self._acquisition == "ei" else improvement_chance
        return lambda best: promise(best + self._xi)

    def _box(self, told: Told) -> Box | None:
        """Return the bounds that are left, or None for the whole cube."""
        if not self._reduces:
            return None
        from bmerge_plugins.gaussian.bounds import reduced

        return reduced(told.points, told.scores, *self._reduction)


def _check(**options: float) -> None:
    """Refuse options below 0.

    Raises:
        PluginError: that names one.
    """
    for name, value in options.items():
        if not value >= 0:
            raise PluginError(f"{name} is {value:g}, must be 0 or more", plugin="bayes")


@hookimpl
def bmerge_optimisers() -> Iterable[OptimiserKind]:
    """Offer ``bayes``."""
    return [
        OptimiserKind(
            "bayes",
            Bayes,
            "Gaussian process with acquisition, kappa decay and domain reduction to choose",
            takes=ALL_KINDS,
            foresees=True,
            needs=("scipy", "numpy", "threadpoolctl"),
        )
    ]
