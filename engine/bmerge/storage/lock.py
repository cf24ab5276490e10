"""One coordinator per study: a lock on a file, released by the system when a process dies."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from bmerge.errors import StudyError

if TYPE_CHECKING:
    from typing_extensions import Self
from bmerge.evaluate.durable import unwritable
from bmerge.system import try_lock

__all__ = ["FolderLock", "lock_of_database"]


class FolderLock:
    """Holds a file in a folder until it is closed.

    Args:
        folder: of the study; it must exist.
        file: name of the file.
        what: is worked on, for messages; None for the study in the folder.

    Raises:
        StudyError: if another process holds it, or the folder cannot be written.
    """

    def __init__(self, folder: Path, *, file: str = "study.lock", what: str | None = None) -> None:
        self._what = what or f"the study in {folder}"
        path = folder / file
        try:
            self._file = path.open("ab+", buffering=0)
        except OSError as error:
            raise unwritable(folder, error) from error
        try:
            self._take(folder)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Let others in."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return self."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _take(self, folder: Path) -> None:
        try:
            free = try_lock(self._file.fileno())
        except OSError as error:
            message = f"the study's folder {folder} cannot be locked: {error.strerror}"
            hint = "give a folder on another file system by --out"
            raise StudyError(message, hint=hint) from error
        if not free:
            self._file.seek(0)
            holder = self._file.read().decode("ascii", "replace").strip()
            message = f"another run is working on {self._what}"
            message += f" (process {holder})" if holder.isdigit() else ""
            raise StudyError(message, hint="wait for it, stop it, or give another folder by --out")
        try:
            self._file.truncate(0)
            self._file.write(str(os.getpid()).encode())
        except OSError as error:
            raise unwritable(folder, error) from error


def lock_of_database(url: str | None) -> FolderLock | None:
    """Hold a shared SQLite file for one run; None for databases that take several writers.

    Two runs that write into one SQLite file at the same time lose trials, whichever studies they
    are at.

    Raises:
        StudyError: if another run holds it.
    """
    if url is None or not url.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        address = make_url(url)
    except ArgumentError:
        return None  # there is no such file: whoever opens it says so
    if address.host or not address.database or address.database == ":memory:":
        return None
    path = Path(address.database)
    what = f"the database {path}, and SQLite takes one at a time"
    return FolderLock(path.parent, file=f"{path.name}.lock", what=what)
