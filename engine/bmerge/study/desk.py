"""What several evaluators share with the thread of the run: calls, outcomes, and the end.

Evaluators work in threads of their own, and what touches the storage or the optimiser is done by
the thread of the run; so they put it on its desk.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from bmerge.records import dataclass
from bmerge.storage.store import Store
from bmerge.study.events import Event
from bmerge.trials.race import Race
from bmerge.trials.trial import Trial

__all__ = ["Call", "Desk", "Evaluates", "GivenUpError", "OnEvent", "Outcome"]

OnEvent = Callable[[Event], None]


class Evaluates(Protocol):
    """Evaluates one trial at a time, in one thread."""

    def evaluate(self, trial: Trial, race: Race | None = None) -> Trial:
        """Return a running trial complete, pruned or failed; it is not stored yet.

        Raises:
            BmergeError: if the study or its surroundings are to blame.
        """


class GivenUpError(Exception):
    """The run ends: a slot must not continue."""


@dataclass(frozen=True, slots=True)
class Call:
    """Something that a slot wants to be done in the thread of the run."""

    action: Callable[[], None]
    done: threading.Event | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial."""

    slot: int
    trial: Trial | BaseException


class Desk:
    """A store as slots see it: they read trials, and what they write is written by the run.

    Args:
        store: of the study.
        calls: to the thread of the run.
        on_event: told of what happens, in that thread.
    """

    def __init__(self, store: Store, calls: queue.Queue[Call | Outcome], on_event: OnEvent) -> None:
        self._store, self._calls, self._on_event = store, calls, on_event
        self.over = threading.Event()

    @property
    def trials(self) -> Mapping[int, Trial]:
        """All trials, as the run knows them now."""
        return self._store.trials

    def park(self, trial: Trial) -> None:
        """Store the pictures that a running trial has so far, and wait until that is done."""
        errors: list[Exception] = []

        def write() -> None:
            try:
                self._store.park(trial)
            except Exception as error:  # noqa: BLE001  for the slot to judge
                errors.append(error)

        done = threading.Event()
        self._calls.put(Call(write, done))
        while not done.wait(0.1):
            self.check()
        if errors:
            raise errors[0]

    def tell(self, event: Event) -> None:
        """Have an event told by the run."""
        self.check()
        self._calls.put(Call(lambda: self._on_event(event)))

    def sleep(self, seconds: float) -> None:
        """Let time pass, unless the run is over."""
        self.over.wait(seconds)
        self.check()

    def check(self) -> None:
        """End the slot's work if the run is over."""
        if self.over.is_set():
            raise GivenUpError
