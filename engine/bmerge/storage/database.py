"""The database of a study, opened so that whatever fails in it is called by its name.

A SQLite file may be locked for a while by whoever looks into it or copies it; that is waited for,
for any kind of statement and when it is opened. All other failures are told in one line: a full
disk, a file that is read-only, damaged, no database, or of another release of Optuna.
"""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bmerge.errors import StudyError
from bmerge.evaluate.sqlite import failure_of, is_locked
from bmerge.logs import logger
from bmerge.records import dataclass
from bmerge.storage import sqlite_file
from bmerge.storage.server import (
    Holder,
    connection_settings,
    with_driver,
    without_password,
)
from bmerge.storage.sqlite_file import connect
from bmerge.trials.folder import DATABASE

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import Connection
    from sqlalchemy.exc import DBAPIError

__all__ = [
    "close_database",
    "holder_of",
    "open_database",
    "patiently",
    "transact",
]

T = TypeVar("T")

_PATIENCE = 60.0  # seconds for which a lock is waited for
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

    if url is not None:
        url = with_driver(url)
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it has a handler of its own
    path = folder / DATABASE
    options: dict[str, Any] = {}
    if url is None:  # by a function, since not every path can be written as a URL
        creator = functools.partial(connect, path, create=create)
        options = {"creator": creator, "poolclass": sqlalchemy.pool.QueuePool}
    elif url.startswith("sqlite"):
        options = {"connect_args": {"timeout": sqlite_file.AT_ONCE}}
    else:  # a connection of before the server was started again is noticed
        options = {"pool_pre_ping": True, "connect_args": connection_settings(url)}
    place = _Place(path) if url is None else _Place(without_password(url))
    new = url is None and create and not path.exists()  # then its tables are of this release

    def make() -> RDBStorage:
        return optuna.storages.RDBStorage(
            url or "sqlite://",
            options,
            skip_compatibility_check=new,
            skip_table_creation=not create,
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


def transact(storage: RDBStorage, action: Callable[[Connection], None]) -> None:
    """Carry out an action in one transaction, patiently: all of it, or nothing.

    Args:
        storage: from :func:`open_database`.
        action: executes statements by the connection that it is given; it may be called again.
    """
    cast("_PatientStorage", storage).transact(action)


def patiently(storage: RDBStorage, action: Callable[[], T]) -> T:
    """Return what an action returns, patiently as the storage's own methods; it may be repeated."""
    return _patiently(action, cast("_PatientStorage", storage).place)


def holder_of(storage: RDBStorage) -> Holder | None:
    """Return what holds studies at the storage's server; None where there is no such server."""
    if storage.engine.dialect.name != "postgresql":
        return None
    return Holder(storage.engine, cast("_PatientStorage", storage).place)


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
        self._storage, self.place = storage, place

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        if not callable(found):
            return found
        return lambda *args, **options: _patiently(lambda: found(*args, **options), self.place)

    def transact(self, action: Callable[[Connection], None]) -> None:
        """Carry out an action in one transaction."""

        def carry_out() -> None:
            with self._storage.engine.begin() as connection:
                action(connection)

        _patiently(carry_out, self.place)


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
            logger(__name__).warning("%s is locked by another program: waiting for it", place)
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
        or (isinstance(each, DBAPIError) and (each.connection_invalidated or _is_read_only(each)))
        for each in causes
    )
    message = f"{place} cannot be used: {_one_line(error)}"
    return StudyError(message, blame="surroundings" if passes else "study")


def _is_read_only(error: DBAPIError) -> bool:
    """Tell whether a server takes no writes for now: one that others follow, or that is full."""
    return getattr(error.orig, "sqlstate", None) == "25006"


def _one_line(error: Exception) -> str:
    """Return what the database itself said."""
    *_, root = _chain(error)
    return " ".join(str(root).split()).rstrip(".") or type(root).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    step: BaseException | None = error
    while step is not None:
        yield step
        step = getattr(step, "orig", None) or step.__cause__
