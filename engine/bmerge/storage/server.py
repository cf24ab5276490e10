"""A database server: how it is connected to, and who writes a study there.

A file's lock holds off other processes of one machine. Runs on two machines meet at the server
only: there a study belongs to whoever holds an advisory lock of PostgreSQL, which it takes back
from a process that dies.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bmerge.errors import StudyError
from bmerge.extras import require

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

__all__ = ["Holder", "connection_settings", "with_driver", "without_password"]

_POSTGRESQL = "postgresql+psycopg:"
_PING = {"idle": 30, "interval": 10, "count": 3}  # seconds, seconds, times
_SETTINGS: Mapping[str, object] = {
    "client_encoding": "utf8",  # else text of a database without encoding comes as bytes
    "connect_timeout": 10,
    "tcp_user_timeout": 60_000,  # milliseconds without an answer from a network that was cut
    **{f"keepalives_{name}": value for name, value in _PING.items()},
}


def with_driver(url: str) -> str:
    """Return an address of PostgreSQL with the driver that the extra brings; any other as it is."""
    scheme, _, rest = url.partition(":")
    if scheme not in {"postgres", "postgresql", "postgresql+psycopg"}:
        return url
    require(("psycopg",), "a study in PostgreSQL")
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # what fails is told here
    return f"{_POSTGRESQL}{rest}"


def without_password(url: str) -> str:
    """Return an address as it may be shown."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "of this study"


def connection_settings(url: str) -> dict[str, object]:
    """Return how the driver of PostgreSQL connects, where an address does not say itself.

    Without them a network that swallows everything is waited for for hours.
    """
    if not url.startswith(_POSTGRESQL):
        return {}
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        given = make_url(url).query
    except (ArgumentError, ValueError):
        return {}  # whoever opens it says so
    return {name: value for name, value in _SETTINGS.items() if name not in given}


class Holder:
    """Holds a study at a PostgreSQL server for this process, in a transaction that stays open.

    Args:
        engine: connects to the server.
        place: what to call it.
    """

    def __init__(self, engine: Engine, place: object) -> None:
        self._engine, self._place = engine, place
        self._connection: Connection | None = None
        self._process = 0  # of the server, that works for the connection

    def hold(self, study: str) -> None:
        """Let no other run write a study.

        Raises:
            StudyError: if another run holds it.
        """
        self.release()
        connection = self._engine.connect()
        try:
            _settle(connection)
            _end(connection, self._process)
            process = _take(connection, study, self._place)
        except BaseException:
            connection.close()
            raise
        self._connection, self._process = connection, process

    def holds(self) -> bool:
        """Tell whether the study is still held: a connection that was lost held it."""
        if self._connection is None:
            return False
        try:
            self._connection.exec_driver_sql("SELECT 1")
        except Exception:  # noqa: BLE001  whatever it was: it is held anew, which tells
            return False
        return True

    def release(self) -> None:
        """Let others write it."""
        if self._connection is not None:
            with suppress(Exception):  # a connection that is gone holds nothing
                self._connection.close()
            self._connection = None


def _settle(connection: Connection) -> None:
    """Let the server neither end the transaction for its age nor keep it when we are gone."""
    name = f"bmerge on {platform.node()}, process {os.getpid()}"
    settings: dict[str, Any] = {"application_name": name, "idle_in_transaction_session_timeout": 0}
    settings |= {f"tcp_keepalives_{key}": value for key, value in _PING.items()}
    for key, value in settings.items():
        connection.exec_driver_sql("SELECT set_config(%s, %s, true)", (key, str(value)))


def _take(connection: Connection, study: str, place: object) -> int:
    """Take the lock of a study; return the server's process."""
    text = "SELECT pg_try_advisory_xact_lock(%s), pg_backend_pid()"
    taken, process = connection.exec_driver_sql(text, (_key(study),)).one()
    if not taken:
        raise _held(connection, study, place)
    return int(process)


def _end(connection: Connection, process: int) -> None:
    """End the server's process for a connection of ours that was cut, which may hold the lock."""
    text = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid = %s AND application_name = current_setting('application_name')"
        " AND pid <> pg_backend_pid()"
    )
    if connection.exec_driver_sql(text, (process,)).first() is not None:
        connection.exec_driver_sql("SELECT pg_sleep(0.1)")


def _held(connection: Connection, study: str, place: object) -> StudyError:
    """Return what to say of a study that another run holds."""
    text = (
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND (l.classid::bigint << 32) | l.objid::bigint = %s"
    )
    who = connection.exec_driver_sql(text, (_key(study),)).scalar()
    message = f"another run is working on the study {study!r} in {place}"
    return StudyError(
        f"{message} ({who})" if who else message, hint="wait for it or stop it; one runs a study"
    )


def _key(study: str) -> int:
    """Return the number of a study's lock."""
    digest = hashlib.sha256(f"bmerge study {study}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
