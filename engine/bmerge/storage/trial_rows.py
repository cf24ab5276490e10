"""Trials as rows of Optuna's tables, each change of one in one transaction.

Optuna's own methods write a trial value by value, each with queries of its own, and know nothing of
a trial that is taken back: what is finished is finished for good.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bmerge.storage.database import transact

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy.engine import Connection, CursorResult

__all__ = ["add_trials", "finish_trial", "note_trial", "reopen_trials"]

_PARTS = tuple(
    f"trial_{kind}"
    for kind in (
        "params", "values", "user_attributes", "system_attributes", "intermediate_values",
        "heartbeats",
    )
)  # fmt: skip
"""Optuna's tables of what belongs to a trial."""

_TRIAL = (
    "INSERT INTO trials (study_id, number, state, datetime_start, datetime_complete)"
    " VALUES (:study, :number, :state, :start, :end)"
)
_IDS = "SELECT number, trial_id FROM trials WHERE study_id = :study AND number >= :first"
_PARAMETER = (
    "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json)"
    " VALUES (:trial, :name, :value, :distribution)"
)
_DELETED = "DELETE FROM trial_user_attributes WHERE trial_id = :trial AND key = :key"
_ATTRIBUTE = (
    "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (:trial, :key, :value)"
)
_SCORE = (
    "INSERT INTO trial_values (trial_id, objective, value, value_type)"
    " VALUES (:trial, :place, :value, 'FINITE')"
)
_FINISHED = (
    "UPDATE trials SET state = :state, datetime_complete = :end"
    " WHERE trial_id = :trial AND state = 'RUNNING'"
)
_ENDED = "UPDATE trials SET state = :state, datetime_complete = :end WHERE trial_id = :trial"
_KNOWN = "SELECT key FROM trial_user_attributes WHERE trial_id = :trial"
_REOPENED = (
    "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL"
    " WHERE trial_id = :trial AND state = 'FAIL'"
)


def add_trials(storage: RDBStorage, study: int, trials: Mapping[int, FrozenTrial]) -> None:
    """Store trials; those that have the first one's number or a greater one go.

    Args:
        storage: from :func:`~bmerge.storage.database.open_database`.
        study: id of the study.
        trials: number → parameters, attributes, state and scores; all scores are finite.
    """
    from optuna.distributions import distribution_to_json

    if not trials:
        return
    written = functools.cache(distribution_to_json)
    first = min(trials)
    bound = [
        {
            "study": study, "number": number, "state": trial.state.name,
            "start": trial.datetime_start, "end": trial.datetime_complete,
        }
        for number, trial in trials.items()
    ]  # fmt: skip
    parameters = [
        (number, name, distribution.to_internal_repr(trial.params[name]), written(distribution))
        for number, trial in trials.items()
        for name, distribution in trial.distributions.items()
    ]

    def carry_out(connection: Connection) -> None:
        _drop(connection, study, first)
        _execute(connection, _TRIAL, bound)
        found = _execute(connection, _IDS, [{"study": study, "first": first}])
        rows = {row.number: row.trial_id for row in found}
        known = [
            {"trial": rows[number], "name": name, "value": value, "distribution": distribution}
            for number, name, value, distribution in parameters
        ]
        pairs = [(rows[number], trial) for number, trial in trials.items()]
        _each(connection, _PARAMETER, known)
        attributes = [a for row, t in pairs for a in _attributes(row, t.user_attrs)]
        _each(connection, _ATTRIBUTE, attributes)
        _each(connection, _SCORE, [s for row, t in pairs for s in _scores(row, t.values or ())])

    transact(storage, carry_out)


def note_trial(storage: RDBStorage, trial: int, attributes: Mapping[str, Any]) -> None:
    """Store attributes of a trial, also of one that another program has ended meanwhile.

    Args:
        storage: from :func:`~bmerge.storage.database.open_database`.
        trial: id of the trial.
        attributes: plain data (JSON) by name; others stay as they are.
    """
    rows = _attributes(trial, attributes)

    def carry_out(connection: Connection) -> None:
        _each(connection, _DELETED, rows)
        _each(connection, _ATTRIBUTE, rows)

    transact(storage, carry_out)


def finish_trial(
    storage: RDBStorage,
    trial: int,
    state: str,
    scores: Sequence[float],
    attributes: Mapping[str, Any],
) -> None:
    """Finish a running trial with scores and attributes; one that is finished stays as it is.

    A trial that another program has ended, without anything of what came of it, counts as running.

    Args:
        storage: from :func:`~bmerge.storage.database.open_database`.
        trial: id of the trial.
        state: Optuna's name of what it becomes.
        scores: finite, one for each objective, or none.
        attributes: plain data (JSON) by name.
    """
    rows = _attributes(trial, attributes)

    def carry_out(connection: Connection) -> None:
        now = datetime.now()  # noqa: DTZ005  as Optuna's own
        end = [{"trial": trial, "state": state, "end": now}]
        done = _execute(connection, _FINISHED, end).rowcount
        if not done:
            known = {row.key for row in _execute(connection, _KNOWN, [{"trial": trial}])}
            if not attributes.keys() <= known:
                done = _execute(connection, _ENDED, end).rowcount
        if done:
            _each(connection, _DELETED, rows)
            _each(connection, _ATTRIBUTE, rows)
            _each(connection, _SCORE, _scores(trial, scores))

    transact(storage, carry_out)


def reopen_trials(storage: RDBStorage, trials: Sequence[int]) -> None:
    """Let failed trials be running again, all of them or none.

    Args:
        storage: from :func:`~bmerge.storage.database.open_database`.
        trials: ids of the trials.
    """
    rows = [{"trial": trial} for trial in trials]

    def carry_out(connection: Connection) -> None:
        _each(connection, _REOPENED, rows)

    transact(storage, carry_out)


def _drop(connection: Connection, study: int, first: int) -> None:
    """Remove the trials from a number on: those that a call which was not answered has left."""
    rows = [{"study": study, "first": first}]
    which = "FROM trials WHERE study_id = :study AND number >= :first"
    if _execute(connection, f"SELECT trial_id {which}", rows).first() is None:
        return
    for table in _PARTS:
        text = f"DELETE FROM {table} WHERE trial_id IN (SELECT trial_id {which})"  # noqa: S608
        _execute(connection, text, rows)
    _execute(connection, f"DELETE {which}", rows)


def _attributes(trial: int, attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"trial": trial, "key": k, "value": json.dumps(v)} for k, v in attributes.items()]


def _scores(trial: int, scores: Sequence[float]) -> list[dict[str, Any]]:
    return [{"trial": trial, "place": place, "value": v} for place, v in enumerate(scores)]


def _each(connection: Connection, text: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Execute a statement for each row, if there are any."""
    if rows:
        _execute(connection, text, rows)


def _execute(
    connection: Connection, text: str, rows: Sequence[Mapping[str, Any]]
) -> CursorResult[Any]:
    """Execute a statement for each of one or more rows."""
    import sqlalchemy

    statement = sqlalchemy.text(text)
    for name in ("start", "end"):
        if f":{name}" in text:
            kind = sqlalchemy.bindparam(name, type_=sqlalchemy.DateTime)
            statement = statement.bindparams(kind)
    return connection.execute(statement, [dict(row) for row in rows])
