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

__all__ = ["FolderLock"]


class FolderLock:
    """Holds ``study.lock`` in a folder until it is closed.

    Args:
        folder: of the study; it must exist.

    Raises:
        StudyError: if another process holds it, or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "study.lock"
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
            message = f"another run is working on the study in {folder}"
            message += f" (process {holder})" if holder.isdigit() else ""
            raise StudyError(message, hint="wait for it, stop it, or give another folder by --out")
        try:
            self._file.truncate(0)
            self._file.write(str(os.getpid()).encode())
        except OSError as error:
            raise unwritable(folder, error) from error
