"""The SQLite file in a study's folder: opened so that nothing of anybody else's is touched."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from bmerge.errors import StudyError

__all__ = ["AT_ONCE", "connect"]

AT_ONCE = 2.0  # seconds for which SQLite itself waits for a lock, while Ctrl-C must wait as well

_LAST_MADE = frozenset({"version_info", "alembic_version"})
"""Tables to which Optuna writes when all others are there."""
_TABLES = {"studies", "version_info", "alembic_version"}
"""Some that Optuna makes, whichever it makes first."""


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open a study's own file. Who only reads makes and changes nothing, and trusts nothing."""
    mode = "rwc" if create else "rw"
    address = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(address, uri=True, timeout=AT_ONCE, check_same_thread=False)
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
