"""Where trials are evaluated: in this thread one after the other, or in several slots at once.

A slot is an evaluator with a merger, for instance one for each image server or device. With
several, each has a thread of its own that merges, paints and scores; everything else, the storage,
the optimiser and the events, stays in the thread of the run. So no plugin but generators and
scorers meets threads, and each of those meets one only.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from bmerge.errors import StudyError
from bmerge.storage.store import Store
from bmerge.study.attempt import Attempts
from bmerge.study.desk import Call, Desk, Evaluates, GivenUpError, OnEvent, Outcome
from bmerge.study.gallery import FolderGallery
from bmerge.study.study import PreparedStudy
from bmerge.study.waiting import Patience
from bmerge.trials.race import Race
from bmerge.trials.trial import Trial

__all__ = ["Crew", "SingleSlot", "Slots", "slots_of"]

_LEAVE = 5.0  # seconds that a slot has to stop in, when the run ends early


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


class SingleSlot:
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


class Crew:
    """Several slots, each with a thread of its own.

    Args:
        store: of the study.
        on_event: told of what happens, in the thread of the run.
        crew: makes the evaluators, one for each slot.
    """

    def __init__(
        self, store: Store, on_event: OnEvent, crew: Callable[[Desk], Sequence[Evaluates]]
    ) -> None:
        self._calls: queue.Queue[Call | Outcome] = queue.Queue()
        self._desk = Desk(store, self._calls, on_event)
        self._inboxes: list[queue.Queue[tuple[Trial, Race | None] | None]] = []
        self._threads = []
        for index, evaluator in enumerate(crew(self._desk)):
            self._inboxes.append(queue.Queue())
            thread = threading.Thread(target=self._work, args=(index, evaluator), daemon=True)
            self._threads.append(thread)
            thread.start()
        self._idle = list(range(len(self._threads)))

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
            if isinstance(message, Call):
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

    def _work(self, index: int, evaluator: Evaluates) -> None:
        """Evaluate trials until there are no more; runs in the slot's thread."""
        while (job := self._inboxes[index].get()) is not None:
            try:
                self._calls.put(Outcome(index, evaluator.evaluate(*job)))
            except GivenUpError:
                return
            except BaseException as error:  # noqa: BLE001  raised again in the run's thread
                self._calls.put(Outcome(index, error))


def slots_of(study: PreparedStudy, store: Store, patience: Patience, on_event: OnEvent) -> Slots:
    """Return the slots of a study.

    Raises:
        StudyError: if there are several and a scorer judges whole trials.
    """
    if study.slots == 1 and study.remote is None:
        return SingleSlot(Attempts(study, store, patience, on_event, FolderGallery(study)))
    for entry in study.evaluator.trial_scorers:
        message = f"the scorer {entry.label!r} judges one trial at a time"
        raise StudyError(message, hint="leave evaluators out")
    if study.remote is not None:
        return Crew(store, on_event, partial(study.remote.evaluators, study))
    return Crew(store, on_event, partial(_here, study))


def _here(study: PreparedStudy, desk: Desk) -> list[Attempts]:
    """Return the evaluators of this process."""
    found = []
    for place in study.workplaces:
        own = replace(study, evaluator=place.evaluator, merger=place.merger)
        patience = Patience(study.patience, place.evaluator, desk.tell, sleep=desk.sleep)
        found.append(Attempts(own, desk, patience, desk.tell, FolderGallery(own)))
    return found
