"""The storage that ships: Optuna's, a SQLite file in the study's folder or a database by its URL.

Optuna owns the tables, so its dashboard and tools read a study; what it has no place for goes into
the trials' user attributes. Nothing else speaks to Optuna of trials.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmerge.errors import StudyError
from bmerge.space.distributions import distribution_of, parameter_of, stored_value, values_of
from bmerge.storage.database import close_database, holder_of, open_database, patiently
from bmerge.storage.lock import lock_of_database
from bmerge.storage.protocol import StoredTrial
from bmerge.storage.trial_rows import add_trials, finish_trial, note_trial, reopen_trials
from bmerge.trials.trial import TrialState

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from bmerge.storage.server import Holder

__all__ = ["OptunaStorage"]

_WRITER = "bmerge:writer"
"""Attribute of a study that only Optuna's systems see: which run wrote it last."""
_NAMES: Mapping[TrialState, str] = {
    "running": "RUNNING", "complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL",
}  # fmt: skip


class OptunaStorage:
    """A :class:`~bmerge.storage.protocol.Storage` over Optuna's.

    Args:
        folder: of the study.
        url: of a shared database; None for the folder's own file.
        create: whether it is to be written, and made if it is not there.

    Raises:
        StudyError: if it cannot be used, or is a SQLite file that another run is writing.
    """

    def __init__(self, folder: Path, url: str | None, *, create: bool) -> None:
        self._lock = lock_of_database(url) if create else None
        try:
            self._rdb = open_database(folder, url, create=create)
        except BaseException:
            self._unlock()
            raise
        self._holder = holder_of(self._rdb) if create else None
        self._held: str | None = None
        self._token, self._former = secrets.token_hex(8), ""

    def hold(self, study: str) -> None:
        """Let no other run write a study, where several machines can reach it.

        Where nothing keeps others off, as when somebody has removed a folder's lock, the first that
        writes after another has done so is stopped.
        """
        if self._holder is not None:
            patiently(self._rdb, partial(self._holder.hold, study))
        self._held, self._former = study, self._writer(self._id(study))

    def studies(self) -> Sequence[str]:
        """Return the names of the studies."""
        return [study.study_name for study in self._rdb.get_all_studies()]

    def create(self, study: str, objectives: int) -> None:
        """Make a study."""
        from optuna.study import StudyDirection

        if study not in self.studies():
            self._rdb.create_new_study([StudyDirection.MAXIMIZE] * objectives, study)

    def delete(self, study: str) -> None:
        """Remove a study."""
        if study in self.studies():
            self._rdb.delete_study(self._own(study))
            self._former = ""

    def attributes(self, study: str) -> dict[str, Any]:
        """Return the attributes of a study."""
        return dict(self._rdb.get_study_user_attrs(self._id(study)))

    def describe(self, study: str, attributes: Mapping[str, Any]) -> None:
        """Store attributes of a study."""
        row = self._own(study)
        for key, value in attributes.items():
            self._rdb.set_study_user_attr(row, key, value)

    def trials(self, study: str) -> list[StoredTrial]:
        """Return all trials by number."""
        rows = self._rdb.get_all_trials(self._id(study), deepcopy=False)
        return [_stored(row) for row in sorted(rows, key=lambda row: row.number)]

    def add(self, study: str, trials: Sequence[StoredTrial]) -> None:
        """Store trials, in one transaction."""
        rows = {trial.number: _frozen(trial) for trial in trials}
        add_trials(self._rdb, self._own(study), rows)

    def note(self, study: str, number: int, attributes: Mapping[str, Any]) -> None:
        """Store attributes of a running trial."""
        note_trial(self._rdb, self._row(study, number), attributes)

    def finish(
        self,
        study: str,
        number: int,
        state: TrialState,
        scores: Sequence[float],
        attributes: Mapping[str, Any],
    ) -> None:
        """Store what came of a running trial, in one transaction."""
        row = self._row(study, number)
        finish_trial(self._rdb, row, _NAMES[state], scores, attributes)

    def reopen(self, study: str, numbers: Sequence[int]) -> None:
        """Let failed trials be running again."""
        reopen_trials(self._rdb, [self._row(study, number) for number in numbers])

    def close(self) -> None:
        """Let go of the database."""
        try:
            if self._holder is not None:
                self._holder.release()
            close_database(self._rdb)
        finally:
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _own(self, study: str) -> int:
        """Return the id of a study that is to be written, once it is sure that nobody else does."""
        row = self._id(study)
        if study != self._held:
            return row
        if self._holder is not None and not self._holder.holds():
            self._hold_again(self._holder, study)
        writer = self._writer(row)
        if writer not in {self._token, self._former}:
            message = f"another run has gone on with the study {study!r} meanwhile"
            raise StudyError(message, hint="when it is done, the same command continues behind it")
        if writer != self._token:
            self._rdb.set_study_system_attr(row, _WRITER, self._token)
        return row

    def _writer(self, row: int) -> str:
        """Return which run has written a study last."""
        return str(self._rdb.get_study_system_attrs(row).get(_WRITER, ""))

    def _hold_again(self, holder: Holder, study: str) -> None:
        """Hold a study again after the connection was lost."""
        try:
            patiently(self._rdb, partial(holder.hold, study))
        except StudyError as error:  # or what is left of our own connection
            raise StudyError(str(error), blame="surroundings", hint=error.hint) from error

    def _id(self, study: str) -> int:
        try:
            return self._rdb.get_study_id_from_name(study)
        except KeyError as error:
            raise _gone(f"the study {study!r}") from error

    def _row(self, study: str, number: int) -> int:
        row = self._own(study)
        try:
            return self._rdb.get_trial_id_from_study_id_trial_number(row, number)
        except KeyError as error:
            raise _gone(f"trial {number} of the study {study!r}") from error


def _gone(what: str) -> StudyError:
    """Return what to say of rows that somebody has removed."""
    message = f"{what} is not in its database any more: somebody has removed it"
    return StudyError(message, hint="bring it back from a backup, or begin anew with another --out")


def _frozen(trial: StoredTrial) -> FrozenTrial:
    """Return a trial as a row of Optuna."""
    from optuna.trial import TrialState as State
    from optuna.trial import create_trial

    known = trial.parameters
    return create_trial(
        state=State[_NAMES[trial.state]],
        values=list(trial.scores) or None,
        params={name: stored_value(known[name], v) for name, v in trial.values.items()},
        distributions={name: distribution_of(known[name]) for name in trial.values},
        user_attrs=dict(trial.attributes),
    )


def _stored(row: FrozenTrial) -> StoredTrial:
    """Return what a row of Optuna holds."""
    states: dict[str, TrialState] = {"COMPLETE": "complete", "PRUNED": "pruned"}
    state = states.get(row.state.name, "failed") if row.state.is_finished() else "running"
    return StoredTrial(
        number=row.number,
        state=state,
        values=values_of(row.params, row.distributions),
        parameters={name: parameter_of(name, d) for name, d in row.distributions.items()},
        attributes=row.user_attrs,
        scores=tuple(row.values or ()) if state in {"complete", "pruned"} else (),
    )
