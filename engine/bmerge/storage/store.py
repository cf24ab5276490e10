"""A study's trials, open for the one process that runs it.

Between the run, which knows :class:`~bmerge.trials.trial.Trial`, and a
:class:`~bmerge.storage.protocol.Storage`, which knows plain data. Phase, block weights, per-picture
scores and the order of tells are attributes there. Where scores are normalised, the scores of the
trials before the optimiser's first one are stored as they were at that moment; a trial always has
the present ones. A store is written by one process at a time; anybody may read it meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bmerge.errors import StudyError
from bmerge.evaluate.durable import unwritable
from bmerge.space.expected import expected
from bmerge.space.protocols import Space
from bmerge.storage.addresses import open_storage
from bmerge.storage.definition import StudyDefinition
from bmerge.storage.forked import is_cut_short
from bmerge.storage.home import check_home, enter_home, storage_of
from bmerge.storage.lock import FolderLock
from bmerge.storage.protocol import Held, Storage, StoredTrial
from bmerge.storage.rows import (
    ATTEMPT,
    PARKED,
    finish_attributes,
    park_attributes,
    start_attributes,
)
from bmerge.storage.stored import load_trials
from bmerge.trials.objective import Objectives
from bmerge.trials.revision import REVISIONS, Revisions, read_revisions, revised
from bmerge.trials.trial import Proposal, Trial

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Store"]

_REOPENED = "reopened"


class Store:
    """A study's trials, open for the one process that runs it.

    Args:
        folder: of the study; made if it is not there.
        name: of the study.
        definition: all that its results depend on; stored until the first trial is.
        objectives: what is maximised.
        budget: asks that the optimiser will get; stored likewise.
        url: of its storage; None keeps one in the folder.
        forking: whether a fork that was cut short may be begun anew.

    Raises:
        StudyError: if another run holds the folder, the storage cannot be used, or it holds a fork
            that was cut short.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        definition: StudyDefinition,
        objectives: Objectives,
        budget: int,
        url: str | None = None,
        forking: bool = False,
    ) -> None:
        self.folder = folder
        self._forking = forking
        self._objectives = objectives
        with ExitStack() as opened:
            opened.callback(_prepare(folder).close)
            url = storage_of(folder, url)
            self._storage = open_storage(folder, url, create=True)
            opened.callback(self._storage.close)
            with expected(f"the study in {folder}"):
                self._open(name, url, {"definition": definition.to_json(), "budget": budget})
            self._opened = opened.pop_all()

    def _open(self, name: str, url: str | None, attributes: Mapping[str, Any]) -> None:
        """Read the study, or make it; describe it, unless something depends on that already."""
        storage, folder, self._study = self._storage, self.folder, name
        _find_or_create(storage, name, folder, url, len(self._objectives.sums))
        self._leave_half_a_fork()
        self.trials = load_trials(storage, name, self._objectives)
        if not self.trials:
            self._describe({**attributes, "folder": str(folder.absolute())})
        if url is not None:
            enter_home(folder, url, storage.attributes(name), self._describe)
        self.attributes = storage.attributes(name)
        self.definition = StudyDefinition.from_json(self.attributes["definition"])
        self._revisions = read_revisions(self.attributes.get(REVISIONS, {}))
        self._reopened = frozenset(self.attributes.get(_REOPENED, ()))

    def _leave_half_a_fork(self) -> None:
        """Begin a fork anew that was cut short, or refuse it."""
        if not is_cut_short(self._storage.attributes(self._study)):
            return
        if not self._forking:
            message = f"the fork in {self.folder} was cut short: it lacks trials"
            raise StudyError(message, hint="the same `bmerge studies fork` begins it anew")
        self._storage.delete(self._study)
        self._storage.create(self._study, len(self._objectives.sums))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._opened.close()

    @property
    def running(self) -> list[Trial]:
        """Trials that were started and not finished, in the order of starting."""
        return [trial for trial in self.trials.values() if trial.state == "running"]

    @property
    def finished(self) -> list[Trial]:
        """Trials that are complete, pruned or failed, by number."""
        return [trial for trial in self.trials.values() if trial.state != "running"]

    @property
    def begun(self) -> bool:
        """Whether a trial has ever been finished."""
        return bool(self.finished or self.reopened)

    @property
    def reopened(self) -> list[Trial]:
        """Those of the running trials that had failed before, by number."""
        return [trial for trial in self.running if trial.number in self._reopened]

    def start(self, proposal: Proposal, space: Space) -> Trial:
        """Store a trial as running, in one transaction, and return it with its number."""
        trial = Trial(len(self.trials), "running", proposal, token=secrets.token_hex(8))
        self._storage.add(self._study, [_row(trial, space)])
        self.trials[trial.number] = trial
        return trial

    def adopt(self, trials: Sequence[Trial], space: Space) -> None:
        """Score finished trials and store them as the study's first ones, all of them or none."""
        known = self._objectives.scored({trial.number: trial for trial in trials})
        self._storage.add(self._study, [_row(trial, space) for trial in known.values()])
        self.trials = known

    def finish(self, trial: Trial) -> Trial:
        """Score a trial and store what came of it; return it with its score.

        A kill leaves it running, or finished.
        """
        known = {**self.trials, trial.number: trial}
        if trial.proposal.asked:
            known[trial.number] = self._objectives.scale(known).scored(trial, known)
        else:  # the reference has grown
            known = self._objectives.scored(known)
        known[trial.number] = trial = replace(known[trial.number], token="")
        attributes = finish_attributes(trial)
        self._storage.finish(self._study, trial.number, trial.state, _scores(trial), attributes)
        self.trials = known
        return trial

    def park(self, trial: Trial) -> None:
        """Store the pictures that a running trial has so far."""
        self.trials[trial.number] = trial
        self._storage.note(self._study, trial.number, {PARKED: park_attributes(trial)})

    def reopen(self) -> None:
        """Let failed trials be running again, under their numbers and with their proposals."""
        failed = [trial for trial in self.finished if trial.state == "failed"]
        if not failed:
            return
        numbers = sorted({*self._reopened, *(trial.number for trial in failed)})
        self._describe({_REOPENED: numbers})  # first: it says whom the optimiser is not asked for
        self._reopened = frozenset(numbers)
        self._storage.reopen(self._study, [trial.number for trial in failed])
        for trial in failed:
            token = secrets.token_hex(8)  # pictures of the attempt that has failed are of no use
            self._storage.note(self._study, trial.number, {ATTEMPT: token, PARKED: {}})
            self.trials[trial.number] = Trial(trial.number, "running", trial.proposal, token=token)

    def forget(self, definition: StudyDefinition, budget: int) -> None:
        """Begin the study anew, as if it never had a trial.

        Args:
            definition: all that its results depend on, from now on.
            budget: asks that the optimiser will get.

        Raises:
            StudyError: if one has ever been finished.
        """
        if self.begun:
            raise StudyError("a study with finished trials cannot begin anew")
        self._storage.delete(self._study)
        self._storage.create(self._study, len(self._objectives.sums))
        changed = {"definition": definition.to_json(), "budget": budget}
        self._describe({**self.attributes, **changed})
        self.attributes = self._storage.attributes(self._study)
        self.definition = definition
        self.trials = {}

    def revise(self, revisions: Revisions) -> None:
        """Store means that have changed since their trials were finished."""
        if revisions != self._revisions:
            self._describe({REVISIONS: revisions})
            self._revisions = revisions

    @property
    def revised(self) -> dict[int, Trial]:
        """The trials as they are judged now; the optimiser was told of ``trials``."""
        return revised(self.trials, self._revisions, self._objectives)

    def describe(self, attributes: Mapping[str, Any]) -> None:
        """Store attributes of the study, beside its definition."""
        self._describe(attributes)
        self.attributes = {**self.attributes, **attributes}

    def define(self, definition: StudyDefinition) -> None:
        """Store the study's definition, completed by what it did not hold before."""
        if definition != self.definition:
            self._describe({"definition": definition.to_json()})
            self.definition = definition

    def _describe(self, attributes: Mapping[str, Any]) -> None:
        self._storage.describe(self._study, attributes)


def _row(trial: Trial, space: Space) -> StoredTrial:
    """Return a trial as it is stored whole."""
    values = trial.proposal.values
    known = {p.name: p for p in space.parameters if p.name in values}
    attributes = start_attributes(trial.proposal, trial.token)
    if trial.state == "running":
        return StoredTrial(trial.number, trial.state, values, known, attributes)
    attributes |= finish_attributes(trial)
    return StoredTrial(trial.number, trial.state, values, known, attributes, _scores(trial))


def _scores(trial: Trial) -> tuple[float, ...]:
    return () if trial.score is None else trial.scores or (trial.score,)


def _prepare(folder: Path) -> FolderLock:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return FolderLock(folder)


def _find_or_create(
    storage: Storage, name: str, folder: Path, url: str | None, objectives: int
) -> None:
    """Find the study ``name``, or make it.

    Args:
        storage: where it is.
        name: of the study.
        folder: of the study.
        url: of the storage where it may hold other studies, too.
        objectives: how many it has.
    """
    known = storage.studies()
    if known and url is None and name not in known:
        message = f"{folder} holds the study {known[0]!r}, not {name!r}"
        raise StudyError(message, hint="give another folder by --out")
    if url is not None:
        check_home(folder, name, storage.attributes(name) if name in known else None)
    if name not in known:
        storage.create(name, objectives)
    if isinstance(storage, Held):
        storage.hold(name)
