"""What keeps a study's trials: the protocol of storages, and which one an address means.

The loop sees :class:`~bmerge.storage.store.Store` only, and that sees only what is here. One
storage ships, :mod:`bmerge.storage.optuna_storage`; plugins offer others for addresses of other
schemes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol, runtime_checkable

from bmerge.records import dataclass
from bmerge.space.protocols import Parameter
from bmerge.trials.trial import TrialState

__all__ = ["Held", "Storage", "StorageKind", "StoredTrial"]


@dataclass(frozen=True, slots=True)
class StoredTrial:
    """A trial as a storage holds it.

    Args:
        number: of the trial within its study, from 0, without gaps.
        state: ``running``, ``complete``, ``pruned`` or ``failed``.
        values: parameter → value; of a choice, the position of its word.
        parameters: parameter → its kind and bounds. A storage need not keep ``simplex``.
        attributes: plain data (JSON) by name.
        scores: one for each objective of a trial that is complete or pruned, else empty.
    """

    number: int
    state: TrialState
    values: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[float, ...] = ()


class Storage(Protocol):
    """Studies by name: their attributes and their trials.

    One process writes a study, from one thread; others may read meanwhile. What a method has
    written is there when it returns, whoever is killed afterwards. A failure that may pass, as a
    server that does not answer, is a :class:`~bmerge.errors.StudyError` with ``blame`` set to
    ``surroundings``: the run waits and calls the same method with the same arguments again. It may
    have been carried out although it failed, so each can be called twice and is then done once.
    """

    def studies(self) -> Sequence[str]:
        """Return the names of the studies; called first."""

    def create(self, study: str, objectives: int) -> None:
        """Make a study that is not there, without attributes and trials."""

    def delete(self, study: str) -> None:
        """Remove a study with its trials."""

    def attributes(self, study: str) -> dict[str, Any]:
        """Return what :meth:`describe` stored."""

    def describe(self, study: str, attributes: Mapping[str, Any]) -> None:
        """Store attributes of a study; others stay as they are."""

    def trials(self, study: str) -> list[StoredTrial]:
        """Return all trials by number; called when a study is opened or read."""

    def add(self, study: str, trials: Sequence[StoredTrial]) -> None:
        """Store trials, all of them or nothing. Their numbers are the next ones, in order.

        Trials of the first one's number or a greater one are left over from a call that failed:
        these take their place.
        """

    def note(self, study: str, number: int, attributes: Mapping[str, Any]) -> None:
        """Store attributes of a running trial; others stay as they are."""

    def finish(
        self,
        study: str,
        number: int,
        state: TrialState,
        scores: Sequence[float],
        attributes: Mapping[str, Any],
    ) -> None:
        """Store what came of a running trial.

        Its state goes last: cut short, this leaves it running. A trial that is finished already
        stays as it is.
        """

    def reopen(self, study: str, numbers: Sequence[int]) -> None:
        """Let failed trials be running again, all of them or none."""

    def close(self) -> None:
        """Let go of everything; called once."""


@runtime_checkable
class Held(Protocol):
    """What a storage may have besides, where runs on several machines can reach it."""

    def hold(self, study: str) -> None:
        """Let no other run write a study until this storage is closed; called before it is read.

        Raises:
            StudyError: if another run holds it.
        """


class OpensStorage(Protocol):
    """Opens the storage at an address."""

    def __call__(self, url: str, *, create: bool) -> Storage:
        """Open it; StudyError if it cannot be used."""


@dataclass(frozen=True, slots=True)
class StorageKind:
    """A kind of storage that addresses name.

    Args:
        name: what it is called.
        schemes: what stands before the ``:`` of its addresses, and no other storage's.
        open: opens the storage at an address, ``open(url, create=…)``; ``create`` tells whether
            it is to be written, and made if it is not there. Who only reads changes nothing.
    """

    name: str
    schemes: frozenset[str]
    open: OpensStorage
