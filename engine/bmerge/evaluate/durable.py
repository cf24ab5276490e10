"""Small files of a study that must outlive a power failure, and what to say if there is no room."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

from bmerge.errors import StudyError
from bmerge.system import sync_folder

__all__ = ["FOR_GOOD", "append_durably", "copy_durably", "unwritable", "write_durably"]

FOR_GOOD = frozenset(
    {errno.EFBIG, errno.ENAMETOOLONG, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ELOOP}
)
"""Errors of the system that no waiting fixes: a study asks for what there cannot be."""

_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})


def write_durably(path: Path, data: bytes) -> None:
    """Write a file that appears complete or not at all, and is on disk when this returns.

    Args:
        path: of the file; folders that are not there are made.
        data: all of it.

    Raises:
        StudyError: if it cannot be written.
    """
    try:
        _make(path.parent)
        _write(path, data)
        _sync(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def copy_durably(copies: Iterable[tuple[Path, Path]]) -> None:
    """Copy files that were written durably; all are on disk when this returns.

    They are links, where the file system has them: neither is ever changed, only replaced.

    Args:
        copies: the files, each with where it goes; folders that are not there are made.

    Raises:
        StudyError: if one cannot be written.
    """
    folders: set[Path] = set()
    for source, target in copies:
        try:
            if target.parent not in folders:
                _make(target.parent)
                folders.add(target.parent)
            _link(source, target)
        except OSError as error:
            raise unwritable(target, error) from error
    for folder in folders:
        _sync(folder)


def _write(path: Path, data: bytes) -> None:
    """Write a file that appears complete or not at all; its name may still be lost."""
    part = path.with_suffix(".part")
    try:
        part.unlink(missing_ok=True)  # of a process that was killed, or a trap: a link
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _link(source: Path, target: Path) -> None:
    """Let a file have another name, or copy it where that cannot be."""
    target.unlink(missing_ok=True)  # of a fork that was cut short
    try:
        if not source.is_symlink():
            os.link(source, target)
            return
    except OSError:  # on another disk, or one without links
        pass
    _write(target, source.read_bytes())


def append_durably(path: Path, data: bytes, at: int) -> None:
    """Write at the end of a file; it is on disk when this returns.

    Args:
        path: of the file; it and folders that are not there are made.
        data: what is added.
        at: bytes that the file has; what a write that was cut short has left behind them goes.

    Raises:
        StudyError: if it cannot be written.
    """
    try:
        _make(path.parent)
        new = not path.exists()
        if not new and not path.is_file():  # a FIFO would be waited for
            raise FileExistsError(errno.EEXIST, "it is not a file")
        with path.open("ab") as file:
            file.truncate(at)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if new:
            _sync(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> StudyError:
    """Return what to say of a file or folder of a study that cannot be written."""
    if error.errno in _FULL:
        return StudyError(
            f"no room is left for {path}", blame="surroundings", hint="make room on its disk"
        )
    message = f"{path} cannot be written: {error.strerror or error}"
    return StudyError(message, blame="study" if error.errno in FOR_GOOD else "surroundings")


def _make(folder: Path) -> None:
    """Make a folder and those that it lies in, so that they outlive a power failure too."""
    if folder.is_dir():
        return
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in new:
        _sync(each.parent)


def _sync(folder: Path) -> None:
    """Write a folder's names to disk, on systems and file systems that can be told to."""
    with contextlib.suppress(OSError):
        sync_folder(folder)
