"""The database of a study, opened so that whatever fails in it is called by its name.

A SQLite file may be locked for a while by whoever looks into it or copies it; that is waited for,
for any kind of statement and when it is opened. All other failures are told in one line: a full
disk, a file that is read-only, damaged, no database, or of another release of Optuna.
"""

from __future__ import annotations

import functools
import logging
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from bmerge.errors import Blame, StudyError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

__all__ = ["FILE", "close_database", "open_database"]

_logger = logging.getLogger(__name__)

T = TypeVar("T")

FILE = "study.db"

_PATIENCE = 60.0  # seconds for which a lock is waited for
_AT_ONCE = 2.0  # of them within SQLite, where Ctrl-C must wait as well
_PAUSE = 0.2
_NO_ROOM = 1 << 20  # bytes; SQLite calls a full disk by several names

_LOCKED = ("locked", "locking protocol")
_FULL = ("disk is full", "no space left")
_INPUT_OUTPUT = ("disk i/o error", "unable to open database file")
_READ_ONLY = ("readonly",)
_OTHER = ("no such table", "no such column")
_DAMAGED = ("malformed", "not a database", "file is encrypted")


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
    place = _Place(path if url is None else None, folder, _shown(url))

    def make() -> RDBStorage:
        return optuna.storages.RDBStorage(
            url or "sqlite://", options, skip_table_creation=not create
        )

    try:
        storage = _patiently(make, place)
    except RuntimeError as error:  # the schema's, with advice for another program's users
        message = f"{place} was written by another release of Optuna, with other tables"
        hint = f"keep a copy, then: optuna storage upgrade --storage {_shown(url) or _url(path)}"
        raise StudyError(message, hint=hint) from error
    except StudyError:
        raise
    except Exception as error:
        reason = _one_line(error)
        raise StudyError(f"{place} cannot be used: {reason}") from error
    return cast("RDBStorage", _PatientStorage(storage, place))


def close_database(storage: RDBStorage) -> None:
    """Let go of a database; a lock or a full disk at that moment is nobody's loss."""
    storage.remove_session()
    storage.engine.dispose()


class _Place:
    """Where a database is, for messages.

    Args:
        file: of SQLite, in the study's folder; None for a shared database.
        folder: of the study.
        url: of the shared database, without its password.
    """

    def __init__(self, file: Path | None, folder: Path, url: str) -> None:
        self.file, self.folder, self.url = file, folder, url

    def __str__(self) -> str:
        return f"the study's storage {self.url}" if self.file is None else str(self.file)

    @property
    def is_full(self) -> bool:
        """Whether its disk has no room left."""
        return self.file is not None and shutil.disk_usage(self.folder).free < _NO_ROOM


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


def _patiently(action: Callable[[], T], place: _Place) -> T:
    """Return what ``action`` returns; while the database is locked, try again."""
    begin, said = time.monotonic(), False
    while True:
        try:
            return action()
        except Exception as error:
            if not _is(error, _LOCKED):
                if (told := _told(error, place)) is None:
                    raise
                raise told from error
            if time.monotonic() - begin >= _PATIENCE:
                message = f"{place} has been locked by another program for a minute"
                hint = "close what has it open: a database browser, a backup, the dashboard"
                raise StudyError(message, blame="surroundings", hint=hint) from error
        if not said:
            _logger.warning("%s is locked by another program: waiting for it", place)
            said = True
        time.sleep(_PAUSE)


def _told(error: Exception, place: _Place) -> StudyError | None:
    """Return what to say of a failure; None where the database is not to blame."""
    from sqlalchemy.exc import SQLAlchemyError

    if not any(isinstance(each, SQLAlchemyError | sqlite3.Error) for each in _chain(error)):
        return None
    reason = _one_line(error)
    hint: str | None = None
    blame: Blame = "study"
    if _is(error, _FULL) or (_is(error, _INPUT_OUTPUT) and place.is_full):
        blame, hint, message = (
            "surroundings",
            "make room on its disk",
            f"no room is left for {place}",
        )
    elif _is(error, _READ_ONLY):
        blame, message = "surroundings", f"{place} cannot be written: it is read-only"
    elif _is(error, _DAMAGED):
        hint = "put a backup in its place, or start the study anew with another --out"
        message = f"{place} is damaged: {reason}"
    elif _is(error, _OTHER):
        message = f"{place} is no study of this release of bmerge: {reason}"
    else:
        blame = "surroundings" if _may_pass(error) else "study"
        message = f"{place} cannot be used: {reason}"
    return StudyError(message, blame=blame, hint=hint)


def _may_pass(error: Exception) -> bool:
    """Tell whether a server or a disk is to blame, and not what was asked of it."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
    from sqlalchemy.exc import TimeoutError as NoConnectionError

    passing = OperationalError | InterfaceError | NoConnectionError | sqlite3.OperationalError
    return any(
        isinstance(each, passing) or (isinstance(each, DBAPIError) and each.connection_invalidated)
        for each in _chain(error)
    )


def _connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open a study's own file. Who only reads makes and changes nothing, and trusts nothing."""
    mode = "rwc" if create else "rw"
    address = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=_AT_ONCE, check_same_thread=False)
    if not create:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")  # it may be somebody else's
    return connection


def _is(error: Exception, words: tuple[str, ...]) -> bool:
    texts = [str(each).lower() for each in _chain(error) if isinstance(each, sqlite3.Error)]
    return any(word in text for word in words for text in texts)


def _one_line(error: Exception) -> str:
    """Return what the database itself said."""
    *_, root = _chain(error)
    return " ".join(str(root).split()).rstrip(".") or type(root).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    step: BaseException | None = error
    while step is not None:
        yield step
        step = getattr(step, "orig", None) or step.__cause__


def _shown(url: str | None) -> str:
    """Return a URL without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return "" if url is None else make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "of that URL"


def _url(path: Path) -> str:
    return f"sqlite:///{path.absolute()}"
