"""``ratings.db``: the file in a study's folder where questions and answers are kept.

The run writes trials and pictures, the page questions and answers, each in short transactions;
SQLite's write-ahead log lets both be killed at any moment. The study's own database is written
by the run alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from bmerge.errors import StudyError
from bmerge.evaluate.sqlite import failure_of

__all__ = ["FILE", "open_ratings"]

FILE = "ratings.db"

_VERSION = 1
_PATIENCE = 30.0  # seconds to wait for the other process's transaction

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
    number INTEGER PRIMARY KEY,
    mode TEXT NOT NULL,         -- pairwise or 0-10
    shown INTEGER NOT NULL,     -- 0: the person was not asked
    wanted INTEGER NOT NULL     -- answers that its score waits for
);
CREATE TABLE IF NOT EXISTS pictures (
    id TEXT PRIMARY KEY,        -- random: it tells nothing of the trial
    trial INTEGER NOT NULL REFERENCES trials,
    payload TEXT NOT NULL,
    prompt TEXT NOT NULL,
    seed INTEGER NOT NULL,
    weight REAL NOT NULL,
    file TEXT NOT NULL,         -- within the study's folder
    UNIQUE (trial, payload)
);
CREATE TABLE IF NOT EXISTS questions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    trial INTEGER NOT NULL REFERENCES trials,
    left TEXT NOT NULL REFERENCES pictures,
    right TEXT REFERENCES pictures,  -- NULL: one picture, 0-10
    answer TEXT,                     -- left, right, tie, skip or a number
    turn INTEGER UNIQUE              -- order of answering
);
"""


@contextmanager
def open_ratings(folder: Path, *, write: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the ratings of a study for one transaction; they are made if need be.

    Args:
        folder: of the study.
        write: whether something is changed: others then wait until the block ends.

    Raises:
        StudyError: if the file cannot be used.
    """
    path = folder / FILE
    try:
        with closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as db:
            _prepare(db)
            db.row_factory = sqlite3.Row
            db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            yield db
            db.execute("COMMIT")
    except sqlite3.Error as error:
        raise failure_of(path, error) from error
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise StudyError(f"{path} was not written by bmerge: {error!r}") from error


def _prepare(db: sqlite3.Connection) -> None:
    """Make the tables in a new file; refuse one of a later version."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise sqlite3.DatabaseError("it was written by a later version of bmerge")
    if version < _VERSION:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    db.execute("PRAGMA synchronous = FULL")  # an answer outlives a power failure
