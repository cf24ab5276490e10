"""One coordinator per study: a lock on a file, released by the system when a process dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bmerge.errors import StudyError

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
            self._file = path.open("a+", encoding="utf-8")
        except OSError as error:
            message = f"the study's folder {folder} cannot be written: {error.strerror}"
            raise StudyError(message) from error
        if not _try_lock(self._file.fileno()):
            self._file.seek(0)
            holder = self._file.read().strip()
            self._file.close()
            message = f"another run is working on the study in {folder}"
            message += f" (process {holder})" if holder else ""
            raise StudyError(message, hint="wait for it, stop it, or give another folder by --out")
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def close(self) -> None:
        """Let others in."""
        self._file.close()


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        """Lock a byte far behind the text, so that others can read who holds it."""
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        """Lock the file unless another process has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
