"""The database of a study, opened so that whatever fails in it is called by its name.

A SQLite file may be locked for a while by whoever looks into it or copies it; that is waited for,
for any kind of statement and when it is opened. All other failures are told in one line: a full
disk, a file that is read-only, damaged, no database, or of another release of Optuna.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bmerge.errors import StudyError
from bmerge.evaluate.sqlite import failure_of, is_locked

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

__all__ = ["FILE", "close_database", "open_database", "reopen_trials"]

_logger = logging.getLogger(__name__)

T = TypeVar("T")

FILE = "study.db"

_LAST_MADE = frozenset({"version_info", "alembic_version"})
"""Tables to which Optuna writes when all others are there."""
_TABLES = {"studies", "version_info", "alembic_version"}
"""Some that Optuna makes, whichever it makes first."""

_PATIENCE = 60.0  # seconds for which a lock is waited for
_AT_ONCE = 2.0  # of them within SQLite, where Ctrl-C must wait as well
_PAUSE = 0.2


def open_database(folder: Path, url: str | None, *, create: bool) -> RDBStorage:
    """Open the database of a study's folder: a shared one, or its own.

    Args:
        folder: of the study.
        url: of a shared database; None for the folder's own file.
        create: whether it is to be written, and made if it is not there.

    Returns:
        Optuna's storage; its methods wait for locks, and raise what the database is to blame for
        as :class:`~bmerge.errors.StudyError`.

    Raises:
        StudyError: if it cannot be used.
    """
    import optuna
    import sqlalchemy.pool

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it has a handler of its own
    path = folder / FILE
    options: dict[str, Any] = {}
    if url is None:  # by a function, since not every path can be written as a URL
        connect = functools.partial(_connect, path, create=create)
        options = {"creator": connect, "poolclass": sqlalchemy.pool.QueuePool}
    elif url.startswith("sqlite"):
        options = {"connect_args": {"timeout": _AT_ONCE}}
    place = _Place(path) if url is None else _Place(_without_password(url))

    def make() -> RDBStorage:
        return optuna.storages.RDBStorage(
            url or "sqlite://", options, skip_table_creation=not create
        )

    try:
        storage = _patiently(make, place)
    except StudyError:
        raise
    except RuntimeError as error:  # of tables that it does not know
        message = f"{place} was written by another release of Optuna, with other tables"
        address = f"sqlite:///{path.absolute()}" if url is None else str(place.name)
        hint = f"keep a copy, then: optuna storage upgrade --storage {address}"
        raise StudyError(message, hint=hint) from error
    except Exception as error:
        raise StudyError(f"{place} cannot be used: {_one_line(error)}") from error
    return cast("RDBStorage", _PatientStorage(storage, place))


def close_database(storage: RDBStorage) -> None:
    """Let go of a database."""
    storage.remove_session()
    storage.engine.dispose()


def reopen_trials(storage: RDBStorage, trials: Sequence[int]) -> None:
    """Let failed trials be running again, all of them or none.

    Args:
        storage: from :func:`open_database`.
        trials: ids of the trials.
    """
    cast("_PatientStorage", storage).reopen(trials)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a database is: a file, or an address without its password."""

    name: Path | str

    def __str__(self) -> str:
        return str(self.name) if isinstance(self.name, Path) else f"the storage {self.name}"


class _PatientStorage:
    """A storage whose methods are patient and speak plainly.

    Args:
        storage: whose methods.
        place: where it is.
    """

    def __init__(self, storage: RDBStorage, place: _Place) -> None:
        self._storage, self._place = storage, place

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        if not callable(found):
            return found
        return lambda *args, **options: _patiently(lambda: found(*args, **options), self._place)

    def reopen(self, trials: Sequence[int]) -> None:
        """Do what Optuna has no method for: to it, what is finished is finished for good."""
        import sqlalchemy

        statement = sqlalchemy.text(
            "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL"
            " WHERE trial_id = :trial AND state = 'FAIL'"
        )

        def update() -> None:
            with self._storage.engine.begin() as connection:
                for trial in trials:
                    connection.execute(statement, {"trial": trial})

        _patiently(update, self._place)


def _patiently(action: Callable[[], T], place: _Place) -> T:
    """Return what ``action`` returns; while the database is locked, try again."""
    begin, said = time.monotonic(), False
    while True:
        try:
            return action()
        except Exception as error:
            sqlite = next((e for e in _chain(error) if isinstance(e, sqlite3.Error)), None)
            locked = sqlite is not None and is_locked(sqlite)
            if not locked or time.monotonic() - begin >= _PATIENCE:
                if (told := _told(error, sqlite, place)) is None:
                    raise
                raise told from error
        if not said:
            _logger.warning("%s is locked by another program: waiting for it", place)
            said = True
        time.sleep(_PAUSE)


def _told(error: Exception, sqlite: sqlite3.Error | None, place: _Place) -> StudyError | None:
    """Return what to say of a failure; None where the database is not to blame."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
    from sqlalchemy.exc import TimeoutError as NoConnectionError

    if sqlite is not None:
        return failure_of(place.name if isinstance(place.name, Path) else str(place), sqlite)
    causes = [each for each in _chain(error) if isinstance(each, SQLAlchemyError)]
    if not causes:
        return None
    passes = any(
        isinstance(each, OperationalError | InterfaceError | NoConnectionError)
        or (isinstance(each, DBAPIError) and each.connection_invalidated)
        for each in causes
    )
    message = f"{place} cannot be used: {_one_line(error)}"
    return StudyError(message, blame="surroundings" if passes else "study")


def _connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open a study's own file. Who only reads makes and changes nothing, and trusts nothing."""
    mode = "rwc" if create else "rw"
    address = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=_AT_ONCE, check_same_thread=False)
    if not create:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")  # it may be somebody else's
    _check_ours(connection, path)
    if not create:
        _check_made(connection, path)
    return connection


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that holds other tables than Optuna's: nothing is written into it."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    tables = {name for (name,) in rows}
    if tables and not tables & _TABLES:
        connection.close()
        message = f"{path} is a database of another program"
        raise StudyError(message, hint="give another folder by --out")


def _check_made(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse to read a database whose tables were being made when the run was killed."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    missing = _LAST_MADE - {name for (name,) in rows}
    if missing or not all(
        connection.execute(f"SELECT 1 FROM {table}").fetchone()  # noqa: S608  a name of ours
        for table in _LAST_MADE
    ):
        connection.close()
        message = f"no study in {path.parent} yet: its run ended while it made {path.name}"
        raise StudyError(message, hint="the same `bmerge run` begins it")


def _one_line(error: Exception) -> str:
    """Return what the database itself said."""
    *_, root = _chain(error)
    return " ".join(str(root).split()).rstrip(".") or type(root).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    step: BaseException | None = error
    while step is not None:
        yield step
        step = getattr(step, "orig", None) or step.__cause__


def _without_password(url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "of this study"
