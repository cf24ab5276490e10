"""``auto``: what found most in ``bmerge bench optimisers``, by a rule that is written down here.

Two Gaussian processes take turns. One has a length scale for all dimensions and proposes by its
upper bound, anywhere: it is right sooner where many blocks matter alike, as at the corners of the
space and on ridges, and goes where little is known. The other has a length scale for each: it finds
out which few blocks matter. It proposes where the expected improvement is greatest, with every
third ask; later, when there is a good merge to begin from, with every second ask where its upper
bound is, within a box around the best one that closes in while it yields nothing. Then it gives up
its turns where the scores do not tell clearly that blocks matter differently. Both know which
pictures each trial was judged by. Their time grows with the cube of the number of trials, so that
CMA-ES continues, from the best, where they get slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from bmerge import OptimiserKind, PluginError, Result, Space, hookimpl
from bmerge_plugins.optimisers._common import ALL_KINDS
from bmerge_plugins.optimisers._results import Results
from bmerge_plugins.optimisers.cmaes import Evolution

if TYPE_CHECKING:
    from bmerge_plugins.gaussian.acquisition import Acquisition
    from bmerge_plugins.gaussian.bounds import Box
    from bmerge_plugins.gaussian.evidence import Evidence, Told
    from bmerge_plugins.gaussian.process import Process

__all__ = ["Auto", "bmerge_optimisers"]

_NOISE = 1e-6
"""Of scores beside what racing tells, as a part of their variance: pictures are the same in every
trial. A process that finds its own noise takes for it what it cannot explain yet."""

_WIDE = 24
"""Asks without a box, in which a third of the proposals are where improvement is expected."""

_CLEAR = 6.0
"""Logarithm of how many times likelier the scores are with a length scale for each dimension, from
which on these count: where all blocks matter alike, what they say is chance."""


class _Turn(NamedTuple):
    """How one ask is answered: by which process, what a point promises, and where."""

    process: Process
    promise: Callable[[float], Acquisition]
    box: Box | None


class Auto:
    """Asks two Gaussian processes by turns for the first trials, then CMA-ES.

    Args:
        space: the dimensions; the processes see a cube.
        seed: equal seeds and results propose equal points.
        budget: not used.
        kappa: how much the upper bound values uncertainty.
        switch: number of results from which CMA-ES is asked.

    Raises:
        PluginError: if an option makes no sense.
    """

    def __init__(
        self, space: Space, seed: int, budget: int, *, kappa: float = 2.576, switch: int = 250
    ) -> None:
        if not kappa >= 0:
            raise PluginError(f"kappa is {kappa:g}, must be 0 or more", plugin="auto")
        self._results, self._seed, self._kappa = Results(space), seed, kappa
        self._evolution = Evolution(space, seed, budget)
        self._switch = switch
        self._asks = 0
        self._evolved = False
        self.expected_gain: float | None = None

    def ask(self) -> Mapping[str, float]:
        """Return the proposal of the one whose turn it is."""
        self._count_ask()
        self.expected_gain = None
        if not self._evolved:
            return self._propose()
        return self._evolution.ask()

    def tell(self, result: Result) -> None:
        """Tell all; what the processes have proposed is foreign to CMA-ES."""
        self._results.tell(result)
        self._tell_evolution(result)

    def replay(self, results: Sequence[Result]) -> None:
        """Repeat the asks and tells of CMA-ES; the processes follow from the results."""
        for result in results:
            while self._asks < result.asks_before:
                self._count_ask()
                if self._evolved:
                    self._evolution.ask()
            self._results.tell(result)
            self._tell_evolution(result)
        self._results.replay(results)

    def _propose(self) -> Mapping[str, float]:
        """Return the proposal of a process.

        One thread: the matrices are small, and sums must not depend on the number of cores.
        """
        import numpy as np
        from threadpoolctl import threadpool_limits

        from bmerge_plugins.gaussian.evidence import evidence_of
        from bmerge_plugins.gaussian.proposing import proposal

        results = self._results
        if not results.told:
            return results.propose(results.cube.unit(results.centre))
        rng = np.random.default_rng((self._seed, results.asks))
        told, foresees = results.scored(), _is_foreseeing(results.asks)
        with threadpool_limits(1):
            evidence, scale = evidence_of(told)
            turn = self._turn(results.asks, told, evidence)
            promising = proposal(
                turn.process,
                scale,
                results.flying,
                turn.promise,
                rng,
                box=turn.box,
                snap=results.snapped if results.stepped else None,
            )
        if foresees:  # the other one goes where little is known, not where it expects most
            self.expected_gain = promising.gain
        return results.propose(promising.point.tolist())

    def _turn(self, number: int, told: Told, evidence: Evidence) -> _Turn:
        """Return how an ask is answered."""
        from bmerge_plugins.gaussian.acquisition import expected_improvement, upper_bound
        from bmerge_plugins.gaussian.fit import fit

        bound, foresees = upper_bound(self._kappa), _is_foreseeing(number)
        each = fit(evidence, noise=_NOISE) if foresees else None
        if each and (number < _WIDE or self._results.stepped):  # few have no untried point in a box
            return _Turn(each.process, expected_improvement, box=None)
        one = fit(evidence, alike=True, noise=_NOISE)
        if each and one.loss - each.loss >= _CLEAR:
            return _Turn(each.process, lambda _: bound, box=self._results.box(told))
        return _Turn(one.process, lambda _: bound, box=None)

    def _count_ask(self) -> None:
        self._asks += 1
        self._evolved = len(self._results.told) >= self._switch

    def _tell_evolution(self, result: Result) -> None:
        self._evolution.tell(replace(result, proposed=result.proposed and self._evolved))


def _is_foreseeing(number: int) -> bool:
    """Tell whether it is the turn of the process with a length scale for each dimension."""
    return number % (3 if number < _WIDE else 2) == 0


@hookimpl
def bmerge_optimisers() -> Iterable[OptimiserKind]:
    """Offer ``auto``."""
    summary = "two Gaussian processes by turns for the first 250 trials, then cmaes"
    needs = ("scipy", "cmaes", "numpy", "threadpoolctl")
    return [OptimiserKind("auto", Auto, summary, takes=ALL_KINDS, foresees=True, needs=needs)]
