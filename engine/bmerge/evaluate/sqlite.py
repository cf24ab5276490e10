"""What to say of a SQLite file of a study that fails: in one line, by the failure's name."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from bmerge.errors import Blame, StudyError

__all__ = ["failure_of", "is_locked"]

_NO_ROOM = 1 << 20  # bytes; SQLite calls a full disk by several names

_LOCKED = ("locked", "locking protocol")
_FULL = ("disk is full", "no space left")
_INPUT_OUTPUT = ("disk i/o error", "unable to open database file")
_READ_ONLY = ("readonly",)
_OTHER = ("no such table", "no such column")
_DAMAGED = ("malformed", "not a database", "file is encrypted")


def is_locked(error: sqlite3.Error) -> bool:
    """Tell whether it fails for nothing but that another program has it locked."""
    return _says(error, _LOCKED)


def failure_of(place: Path | str, error: sqlite3.Error) -> StudyError:
    """Return what to say of a failure.

    Args:
        place: the file, or what to call it.
        error: what SQLite says.
    """
    hint: str | None = None
    blame: Blame = "study"
    if isinstance(place, Path) and place.is_dir():
        blame, message = "surroundings", f"{place} is a folder, where a file is needed"
        hint = "move it away, or give another folder by --out"
    elif is_locked(error):
        blame, message = "surroundings", f"{place} is locked by another program"
        hint = "close what has it open: a database browser, a backup, the dashboard"
    elif _says(error, _FULL) or (_says(error, _INPUT_OUTPUT) and _has_no_room(place)):
        blame, message = "surroundings", f"no room is left for {place}"
        hint = "make room on its disk"
    elif _says(error, _READ_ONLY) and isinstance(place, Path) and not place.exists():
        blame, message = "surroundings", f"{place} was moved or removed while it was open"
        hint = "put it back"
    elif _says(error, _READ_ONLY):
        blame, message = "surroundings", f"{place} cannot be written: it is read-only"
    elif _says(error, _DAMAGED):
        message = f"{place} is damaged: {error}"
        hint = "put a backup in its place, or start the study anew with another --out"
    elif _says(error, _OTHER) and _is_empty(place):
        message = f"{place} was emptied while it was open"
        hint = "put a backup in its place, or start the study anew with another --out"
    elif _says(error, _OTHER):
        message = f"{place} was not written by this release of bmerge: {error}"
    else:
        blame = "surroundings" if isinstance(error, sqlite3.OperationalError) else "study"
        message = f"{place} cannot be used: {error}"
    return StudyError(message, blame=blame, hint=hint)


def _says(error: sqlite3.Error, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)


def _is_empty(place: Path | str) -> bool:
    try:
        return isinstance(place, Path) and place.stat().st_size == 0
    except OSError:
        return False


def _has_no_room(place: Path | str) -> bool:
    try:
        return isinstance(place, Path) and shutil.disk_usage(place.parent).free < _NO_ROOM
    except OSError:
        return False
