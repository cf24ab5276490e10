"""Where trials are kept: Optuna's storage, a SQLite file in the study's folder by default.

Optuna owns the rows, so its dashboard and tools read a study; what it has no place for (phase,
block weights, per-picture scores, order of tells) goes into the trials' user attributes. Where
scores are normalised, Optuna's values of the trials before the optimiser's first one are of the
moment when each was stored; :class:`~bmerge.study.trial.Trial` always has the present ones. Here
alone Optuna is spoken to; the rest of bmerge sees :class:`~bmerge.study.trial.Trial`. A store
is written by one process at a time; anybody may read it meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bmerge.errors import StudyError
from bmerge.evaluate.durable import unwritable
from bmerge.study.database import FILE, close_database, open_database, reopen_trials
from bmerge.study.distributions import distribution_of, stored_value
from bmerge.study.expected import expected
from bmerge.study.home import check_home, enter_home, is_home, storage_of, url_of
from bmerge.study.lock import FolderLock, lock_of_database
from bmerge.study.objective import Objectives
from bmerge.study.protocols import Space
from bmerge.study.revision import Revisions, read_revisions, revised
from bmerge.study.rows import (
    ATTEMPT,
    PARKED,
    finish_attributes,
    park_attributes,
    start_attributes,
    trial_of,
)
from bmerge.study.trial import Proposal, Trial

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from typing_extensions import Self

__all__ = ["Store", "StoredStudy", "has_study", "read_study"]

_REVISIONS = "revisions"
_REOPENED = "reopened"


class StoredStudy:
    """A stored study as it is now, read without disturbing a run.

    Args:
        folder: of the study.
        name: of the study.
        attributes: what was stored with the study: ``definition``, ``budget``.
        objectives: what it maximises.
        trials: number → trial, as it is judged now.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        attributes: Mapping[str, Any],
        objectives: Objectives,
        trials: Mapping[int, Trial],
    ) -> None:
        self.folder = folder
        self.name = name
        self.attributes = attributes
        self.objectives = objectives
        self.trials = trials


class Store:
    """A study's trials, open for the one process that runs it.

    Args:
        folder: of the study; made if it is not there.
        name: of the study.
        definition: all that its results depend on, as plain data; stored until the first
            trial is.
        objectives: what is maximised.
        budget: asks that the optimiser will get; stored likewise.
        url: of an Optuna database; None keeps one in the folder.

    Raises:
        StudyError: if another run holds the folder, or the storage cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        definition: Mapping[str, Any],
        objectives: Objectives,
        budget: int,
        url: str | None = None,
    ) -> None:
        self.folder = folder
        self._objectives = objectives
        with ExitStack() as opened:
            opened.callback(_prepare(folder).close)
            url = storage_of(folder, url)
            if (held := lock_of_database(url)) is not None:
                opened.callback(held.close)
            self._storage = open_database(folder, url, create=True)
            opened.callback(close_database, self._storage)
            with expected(f"the study in {folder}"):
                self._open(name, url, {"definition": definition, "budget": budget})
            self._opened = opened.pop_all()

    def _open(self, name: str, url: str | None, attributes: Mapping[str, Any]) -> None:
        """Read the study, or make it; describe it, unless something depends on that already."""
        storage, folder = self._storage, self.folder
        self._study = _find_or_create(storage, name, folder, url, len(self._objectives.sums))
        self.trials = _load(storage, self._study, self._objectives)
        if not self.trials:
            self._describe({**attributes, "folder": str(folder.absolute())})
        if url is not None:
            known = storage.get_study_user_attrs(self._study)
            enter_home(folder, url, known, self._describe)
        self.attributes = storage.get_study_user_attrs(self._study)
        self._revisions = read_revisions(self.attributes.get(_REVISIONS, {}))
        self._reopened = frozenset(self.attributes.get(_REOPENED, ()))

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
        from optuna.trial import TrialState, create_trial

        token = secrets.token_hex(8)
        known = {p.name: p for p in space.parameters if p.name in proposal.values}
        template = create_trial(
            state=TrialState.RUNNING,
            params={name: stored_value(known[name], v) for name, v in proposal.values.items()},
            distributions={name: distribution_of(p) for name, p in known.items()},
            user_attrs=start_attributes(proposal, token),
        )
        number = len(self.trials)  # as Optuna counts, without asking it: that could fail
        self._storage.create_new_trial(self._study, template_trial=template)
        trial = Trial(number, "running", proposal, token=token)
        self.trials[number] = trial
        return trial

    def finish(self, trial: Trial) -> Trial:
        """Score a trial and store what came of it; return it with its score.

        Its state goes last, so that a kill leaves it running.
        """
        from optuna.trial import TrialState

        known = {**self.trials, trial.number: trial}
        if trial.proposal.asked:
            known[trial.number] = self._objectives.scale(known).scored(trial, known)
        else:  # the reference has grown
            known = self._objectives.scored(known)
        known[trial.number] = trial = replace(known[trial.number], token="")
        storage = self._storage
        identity = self._row(trial.number)
        for key, value in finish_attributes(trial).items():
            storage.set_trial_user_attr(identity, key, value)
        if trial.score is None:
            storage.set_trial_state_values(identity, TrialState.FAIL)
        else:
            values = trial.scores or (trial.score,)
            pruned = trial.state == "pruned"
            state = TrialState.PRUNED if pruned else TrialState.COMPLETE
            storage.set_trial_state_values(identity, state, values)
        self.trials = known
        return trial

    def park(self, trial: Trial) -> None:
        """Store the pictures that a running trial has so far."""
        self.trials[trial.number] = trial
        row = self._row(trial.number)
        self._storage.set_trial_user_attr(row, PARKED, park_attributes(trial))

    def reopen(self) -> None:
        """Let failed trials be running again, under their numbers and with their proposals."""
        failed = [trial for trial in self.finished if trial.state == "failed"]
        if not failed:
            return
        numbers = sorted({*self._reopened, *(trial.number for trial in failed)})
        self._describe({_REOPENED: numbers})  # first: it says whom the optimiser is not asked for
        self._reopened = frozenset(numbers)
        rows = [self._row(trial.number) for trial in failed]
        reopen_trials(self._storage, rows)
        for trial, row in zip(failed, rows, strict=True):
            token = secrets.token_hex(8)  # pictures of the attempt that has failed are of no use
            self._storage.set_trial_user_attr(row, ATTEMPT, token)
            self.trials[trial.number] = Trial(trial.number, "running", trial.proposal, token=token)
            self._storage.set_trial_user_attr(row, PARKED, {})

    def forget(self, **attributes: object) -> None:
        """Begin the study anew, as if it never had a trial.

        Args:
            attributes: those of the study that change.

        Raises:
            StudyError: if one has ever been finished.
        """
        if self.begun:
            raise StudyError("a study with finished trials cannot begin anew")
        name = self._storage.get_study_name_from_id(self._study)
        directions = self._storage.get_study_directions(self._study)
        self._storage.delete_study(self._study)
        self._study = self._storage.create_new_study(directions, name)
        self._describe({**self.attributes, **attributes})
        self.attributes = self._storage.get_study_user_attrs(self._study)
        self.trials = {}

    def revise(self, revisions: Revisions) -> None:
        """Store means that have changed since their trials were finished."""
        if revisions != self._revisions:
            self._storage.set_study_user_attr(self._study, _REVISIONS, revisions)
            self._revisions = revisions

    @property
    def revised(self) -> dict[int, Trial]:
        """The trials as they are judged now; the optimiser was told of ``trials``."""
        return revised(self.trials, self._revisions, self._objectives)

    def describe(self, attributes: Mapping[str, Any]) -> None:
        """Store attributes of the study, beside its definition."""
        self._describe(attributes)
        self.attributes = {**self.attributes, **attributes}

    def define(self, definition: Mapping[str, Any]) -> None:
        """Store the study's definition, completed by what it did not hold before."""
        if definition != self.attributes["definition"]:
            self._describe({"definition": definition})

    def _row(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study, number)

    def _describe(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self._storage.set_study_user_attr(self._study, key, value)


def has_study(folder: Path) -> bool:
    """Tell whether a run has ever begun in ``folder``."""
    return (folder / FILE).is_file() or url_of(folder) is not None


def read_study(folder: str | Path) -> StoredStudy:
    """Read the study in ``folder``, whether or not a run is working on it.

    Raises:
        StudyError: if there is none.
    """
    folder = Path(folder)
    url = url_of(folder)
    if not has_study(folder):
        raise StudyError(f"no study in {folder}", hint="give the folder that `bmerge run` made")
    storage = open_database(folder, url, create=False)
    with ExitStack() as opened, expected(f"the study in {folder}"):
        opened.callback(close_database, storage)
        for name in _names(storage):
            identity = storage.get_study_id_from_name(name)
            attributes = storage.get_study_user_attrs(identity)
            if "folder" in attributes and (url is None or is_home(attributes, folder)):
                objectives = Objectives.of(attributes["definition"])
                revisions = read_revisions(attributes.get(_REVISIONS, {}))
                trials = revised(_load(storage, identity, objectives), revisions, objectives)
                return StoredStudy(folder, name, attributes, objectives, trials)
    raise StudyError(f"no study of bmerge in {folder}")


def _prepare(folder: Path) -> FolderLock:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    return FolderLock(folder)


def _find_or_create(
    storage: RDBStorage, name: str, folder: Path, url: str | None, objectives: int
) -> int:
    """Return the id of the study ``name``, made if need be.

    Args:
        storage: where it is.
        name: of the study.
        folder: of the study.
        url: of the storage where it may hold other studies, too.
        objectives: how many it has.
    """
    from optuna.study import StudyDirection

    known = _names(storage)
    if known and url is None and name not in known:
        message = f"{folder} holds the study {known[0]!r}, not {name!r}"
        raise StudyError(message, hint="give another folder by --out")
    row = storage.get_study_id_from_name(name) if name in known else None
    if url is not None:
        check_home(folder, name, None if row is None else storage.get_study_user_attrs(row))
    if row is not None:
        return row
    return storage.create_new_study([StudyDirection.MAXIMIZE] * objectives, name)


def _load(storage: RDBStorage, study: int, objectives: Objectives) -> dict[int, Trial]:
    """Read all trials, by number."""
    rows = sorted(storage.get_all_trials(study, deepcopy=False), key=lambda row: row.number)
    trials = {row.number: trial_of(row) for row in rows}
    return trials if objectives.normalise == "none" else objectives.scored(trials)


def _names(storage: RDBStorage) -> list[str]:
    return [study.study_name for study in storage.get_all_studies()]
