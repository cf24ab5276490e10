"""Where trials are evaluated: in this thread one after the other, or in several slots at once.

A slot is an evaluator with a merger, for instance one for each image server or device. With
several, each has a thread of its own that merges, paints and scores; everything else, the storage,
the optimiser and the events, stays in the thread of the run. So no plugin but generators and
scorers meets threads, and each of those meets one only.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from bmerge.errors import StudyError
from bmerge.study.attempt import Attempts
from bmerge.study.events import Event
from bmerge.study.racing import Race
from bmerge.study.store import Store
from bmerge.study.study import Study, Workplace
from bmerge.study.trial import Trial
from bmerge.study.waiting import Patience

__all__ = ["Alone", "Crew", "Slots", "slots_of"]

_LEAVE = 5.0  # seconds that a slot has to stop in, when the run ends early

OnEvent = Callable[[Event], None]


class Slots(Protocol):
    """Evaluates trials: ``start`` where there is a free slot, ``wait`` for the next outcome."""

    @property
    def free(self) -> int:
        """How many trials may be started now."""

    @property
    def busy(self) -> int:
        """How many trials are being evaluated."""

    def start(self, trial: Trial, race: Race | None) -> None:
        """Begin to evaluate a running trial in a free slot."""

    def wait(self) -> Trial:
        """Return the next trial that is complete, pruned or failed; it is not stored yet.

        Raises:
            BmergeError: if the study or its surroundings are to blame; the trial stays running.
        """

    def close(self) -> None:
        """Let all slots go; what they are at is given up."""


class Alone:
    """One slot: the trial is evaluated in ``wait``, in the thread of the run.

    Args:
        attempts: evaluates it.
    """

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._next: tuple[Trial, Race | None] | None = None

    @property
    def free(self) -> int:
        """One, or none."""
        return int(self._next is None)

    @property
    def busy(self) -> int:
        """None, or one."""
        return 1 - self.free

    def start(self, trial: Trial, race: Race | None) -> None:
        """Take note of the trial."""
        self._next = trial, race

    def wait(self) -> Trial:
        """Evaluate it."""
        assert self._next is not None
        (trial, race), self._next = self._next, None
        return self._attempts.evaluate(trial, race)

    def close(self) -> None:
        """Do nothing: nothing goes on."""


class _GivenUpError(Exception):
    """The run ends: a slot must not go on."""


@dataclass(frozen=True, slots=True)
class _Call:
    """Something that a slot wants to be done in the thread of the run."""

    action: Callable[[], None]
    done: threading.Event | None = None


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a trial."""

    slot: int
    trial: Trial | BaseException


class _Desk:
    """A store as slots see it: they read trials, and what they write is written by the run.

    Args:
        store: of the study.
        calls: to the thread of the run.
    """

    def __init__(self, store: Store, calls: queue.Queue[_Call | _Outcome]) -> None:
        self._store, self._calls = store, calls
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
        self._calls.put(_Call(write, done))
        while not done.wait(0.1):
            self.check()
        if errors:
            raise errors[0]

    def tell(self, event: Event, on_event: OnEvent) -> None:
        """Have an event told by the run."""
        self.check()
        self._calls.put(_Call(lambda: on_event(event)))

    def check(self) -> None:
        """End the slot's work if the run is over."""
        if self.over.is_set():
            raise _GivenUpError


class Crew:
    """Several slots, each with a thread of its own.

    Args:
        study: whose trials.
        store: of the study.
        on_event: told of what happens, in the thread of the run.
    """

    def __init__(self, study: Study, store: Store, on_event: OnEvent) -> None:
        self._calls: queue.Queue[_Call | _Outcome] = queue.Queue()
        self._desk = _Desk(store, self._calls)
        self._idle = list(range(len(study.workplaces)))
        self._inboxes: list[queue.Queue[tuple[Trial, Race | None] | None]] = []
        self._threads = []
        for index, place in enumerate(study.workplaces):
            self._inboxes.append(queue.Queue())
            attempts = self._attempts(study, place, on_event)
            thread = threading.Thread(target=self._work, args=(index, attempts), daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def free(self) -> int:
        """How many trials may be started now."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """How many trials are being evaluated."""
        return len(self._threads) - len(self._idle)

    def start(self, trial: Trial, race: Race | None) -> None:
        """Hand a trial to a slot that is free."""
        self._inboxes[self._idle.pop(0)].put((trial, race))

    def wait(self) -> Trial:
        """Do what slots ask for until one of them is done."""
        while True:
            message = self._calls.get()
            if isinstance(message, _Call):
                message.action()
                if message.done is not None:
                    message.done.set()
                continue
            self._idle.append(message.slot)
            if isinstance(message.trial, BaseException):
                self._desk.over.set()
                raise message.trial
            return message.trial

    def close(self) -> None:
        """Stop all slots at their next picture; one that paints for long is left to itself."""
        self._desk.over.set()
        for inbox in self._inboxes:
            inbox.put(None)
        for thread in self._threads:
            thread.join(_LEAVE)

    def _attempts(self, study: Study, place: Workplace, on_event: OnEvent) -> Attempts:
        def tell(event: Event) -> None:
            self._desk.tell(event, on_event)

        own = replace(study, evaluator=place.evaluator, merger=place.merger)
        patience = Patience(study.patience, place.evaluator, tell, sleep=self._sleep)
        return Attempts(own, self._desk, patience, tell)

    def _sleep(self, seconds: float) -> None:
        if self._desk.over.wait(seconds):
            raise _GivenUpError

    def _work(self, index: int, attempts: Attempts) -> None:
        """Evaluate trials until there are no more; runs in the slot's thread."""
        while (job := self._inboxes[index].get()) is not None:
            try:
                self._calls.put(_Outcome(index, attempts.evaluate(*job)))
            except _GivenUpError:
                return
            except BaseException as error:  # noqa: BLE001  raised again in the run's thread
                self._calls.put(_Outcome(index, error))


def slots_of(study: Study, store: Store, patience: Patience, on_event: OnEvent) -> Slots:
    """Return the slots of a study.

    Raises:
        StudyError: if there are several and a scorer judges whole trials.
    """
    if len(study.workplaces) == 1:
        return Alone(Attempts(study, store, patience, on_event))
    for entry in study.evaluator.trial_scorers:
        message = f"the scorer {entry.label!r} judges one trial at a time"
        raise StudyError(message, hint="leave evaluators out")
    return Crew(study, store, on_event)
