"""``nevergrad``: any optimiser of the nevergrad library, by its name there.

They have state that cannot be derived from the results, so a study is resumed by making the
same asks and tells again in their stored order; with the same seed and budget that reproduces
every proposal.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from bmerge import Cube, OptimiserKind, PluginError, Result, Space, hookimpl, nearest
from bmerge_plugins.optimisers._common import ALL_KINDS

__all__ = ["Nevergrad", "bmerge_optimisers"]

_logger = logging.getLogger(__name__)

T = TypeVar("T")


class Nevergrad:
    """Proposes what an optimiser of nevergrad asks for; that minimises the negative score.

    Args:
        space: the dimensions; nevergrad sees each scaled to [0, 1].
        seed: equal seeds, budgets and results propose equal points.
        budget: trials that will be asked for; many of its optimisers plan with it.
        algorithm: a name of ``nevergrad.optimizers.registry``.
        workers: trials that nevergrad is told are evaluated at once. Its automatic choices
            depend on it: with 1 they take COBYLA, which is far ahead on a smooth objective and
            far behind on a noisy one; with 2 or more an evolution strategy. Algorithms that
            can do no more than one at a time get 1.

    Raises:
        PluginError: if nevergrad has no such algorithm, or cannot construct it.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        budget: int,
        *,
        algorithm: str = "NgIohTuned",
        workers: int = 2,
    ) -> None:
        self._cube = Cube(space)
        dimensions = self._cube.width
        self._optimiser = _guarded(lambda: _construct(dimensions, seed, budget, algorithm, workers))
        self._pending: list[tuple[Mapping[str, float], Any]] = []
        self._asks = 0
        self._worst: float | None = None

    def ask(self) -> Mapping[str, float]:
        """Return nevergrad's next candidate."""
        candidate = _guarded(self._optimiser.ask)
        self._asks += 1
        values = self._cube.values(candidate.value)
        self._pending.append((values, candidate))
        return values

    def tell(self, result: Result) -> None:
        """Tell nevergrad the loss; a failed trial has the worst loss so far."""
        loss = self._loss(result)
        known = [
            place for place, (values, _) in enumerate(self._pending) if values == result.values
        ]
        if result.proposed and known:
            _, candidate = self._pending.pop(known[0])
            _guarded(lambda: self._optimiser.tell(candidate, loss))
            return
        if result.proposed:
            _logger.warning("nevergrad did not propose trial %d again", result.number)
        self._tell_foreign(self._cube.unit(result.values), loss)

    def replay(self, results: Sequence[Result]) -> None:
        """Make the asks and tells of the earlier runs again."""
        for result in results:
            while self._asks < result.asks_before:
                self.ask()
            self.tell(result)

    def _loss(self, result: Result) -> float:
        if result.score is None:
            return 0.0 if self._worst is None else self._worst
        loss = -result.score
        self._worst = loss if self._worst is None else max(self._worst, loss)
        return loss

    def _tell_foreign(self, unit: Sequence[float], loss: float) -> None:
        """Tell of a point that nevergrad did not ask for, where its algorithm can take that."""
        from nevergrad.common.errors import (  # type: ignore[import-untyped]
            TellNotAskedNotSupportedError,
        )

        candidate = self._optimiser.parametrization.spawn_child(new_value=unit)
        try:
            _guarded(lambda: self._optimiser.tell(candidate, loss))
        except TellNotAskedNotSupportedError:
            _logger.debug("%s does not accept points of others", self._optimiser.name)


def _construct(dimensions: int, seed: int, budget: int, algorithm: str, workers: int) -> Any:
    """Return nevergrad's optimiser over the unit cube."""
    import nevergrad  # type: ignore[import-untyped]
    import numpy as np

    registry = nevergrad.optimizers.registry
    if algorithm not in registry:
        message = f"nevergrad has no algorithm {algorithm!r}"
        raise PluginError(message, plugin="nevergrad", hint=nearest(algorithm, registry))
    cube = nevergrad.p.Array(init=np.full(dimensions, 0.5), lower=0.0, upper=1.0)
    cube.random_state = np.random.RandomState(seed)
    if registry[algorithm].no_parallelization:
        workers = 1
    try:
        return registry[algorithm](cube, budget=max(1, budget), num_workers=workers)
    except (AssertionError, ImportError, ValueError) as error:
        message = f"nevergrad cannot make {algorithm} with {workers} workers: {error}"
        raise PluginError(message, plugin="nevergrad") from error


def _guarded(call: Callable[[], T]) -> T:
    """Call nevergrad in a daemon thread, without its warnings.

    Some of its optimisers run in a thread of their own that waits for the next tell, for ever.
    Threads inherit being daemons from the thread that starts them, and daemons do not keep the
    process from ending.
    """
    outcome: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


@hookimpl
def bmerge_optimisers() -> Iterable[OptimiserKind]:
    """Offer ``nevergrad``."""
    return [
        OptimiserKind(
            "nevergrad",
            Nevergrad,
            "any optimiser of nevergrad, by its name",
            takes=ALL_KINDS,
            needs=("nevergrad", "numpy"),
        )
    ]
