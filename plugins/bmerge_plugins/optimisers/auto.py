"""``auto``: what is best at each length of a study, as far as it was measured.

A Gaussian process finds more in a few dozen trials than anything else that was compared; its time
grows with the cube of their number, and CMA-ES goes on where it gets slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bmerge import OptimiserKind, Result, Space, hookimpl
from bmerge_plugins.optimisers._common import ALL_KINDS
from bmerge_plugins.optimisers.cmaes import Evolution
from bmerge_plugins.optimisers.optuna_samplers import GaussianProcess

__all__ = ["Auto", "bmerge_optimisers"]


class Auto:
    """Asks a Gaussian process for the first trials, then CMA-ES, which begins at the best.

    Args:
        space: the dimensions.
        seed: equal seeds and results propose equal points.
        budget: not used.
        switch: number of results from which CMA-ES is asked.
    """

    def __init__(self, space: Space, seed: int, budget: int, *, switch: int = 250) -> None:
        self._process = GaussianProcess(space, seed, budget)
        self._evolution = Evolution(space, seed, budget)
        self._switch = switch
        self._results = self._asks = 0
        self._evolved = False

    def ask(self) -> Mapping[str, float]:
        """Return the proposal of the one whose turn it is."""
        self._count_ask()
        return (self._evolution if self._evolved else self._process).ask()

    def tell(self, result: Result) -> None:
        """Tell both; what the other has proposed is foreign to CMA-ES."""
        self._process.tell(result)
        self._tell_evolution(result)

    def replay(self, results: Sequence[Result]) -> None:
        """Repeat the asks and tells of CMA-ES; the Gaussian process follows from the results."""
        for result in results:
            while self._asks < result.asks_before:
                self._count_ask()
                if self._evolved:
                    self._evolution.ask()
            self._tell_evolution(result)
        self._process.replay(results)

    def _count_ask(self) -> None:
        self._asks += 1
        self._evolved = self._results >= self._switch

    def _tell_evolution(self, result: Result) -> None:
        self._results += 1
        self._evolution.tell(replace(result, proposed=result.proposed and self._evolved))


@hookimpl
def bmerge_optimisers() -> Iterable[OptimiserKind]:
    """Offer ``auto``."""
    summary = "gp for the first 250 trials, then cmaes"
    return [
        OptimiserKind(
            "auto",
            Auto,
            summary,
            takes=ALL_KINDS,
            needs=("optuna", "cmaes", "numpy", "threadpoolctl"),
        )
    ]
