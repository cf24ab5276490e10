"""Temporary files and folders: known as ours by their names, and removed when their process died.

Above the operating system and the errors. Whatever is killed leaves something behind; the next
command that would make such a thing in the same folder removes it, and so does ``bmerge clean``.
A name tells the process that it is of:

- ``NAME.PID-RANDOM.bmerge-tmp``, which its process has locked; perhaps with a suffix after it;
- ``bmerge-MACHINE-PID-RANDOM.SUFFIX`` for merged files that other programs are to load, which
  rewrite other signs than letters, digits and dashes.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from bmerge import system
from bmerge.errors import ExecutorError

__all__ = [
    "alone_in",
    "fresh_name",
    "is_left_over",
    "left_over",
    "remove",
    "remove_left_over",
    "temporary_folder",
    "temporary_folder_until_exit",
    "writing_within",
]

_SUFFIX = ".bmerge-tmp"
_LOCKED = r"(?s).*\.(\d{1,10})-[0-9a-f]{16}\.bmerge-tmp(\.\w+)?"
_NAMED = r"bmerge-([0-9a-f]{6})-(\d{1,10})-[0-9a-f]{12}\.\w+"
_INDEX = "*.safetensors.index.json"
_GRACE = 60.0
"""Seconds after which something is locked if it ever will be."""
_SLACK = 5.0
"""Seconds by which a process may seem to have begun too late: clocks have steps."""

_cleaned: set[Path] = set()
_until_exit = contextlib.ExitStack()
atexit.register(_until_exit.close)


@contextlib.contextmanager
def temporary_folder(kind: str, within: Path | None = None) -> Iterator[Path]:
    """Give a folder that is gone after the block; what died before left none, either.

    Args:
        kind: a word that says what is in it.
        within: where it is made; the system's folder for temporary files if None.

    Raises:
        OSError: if it cannot be made.
    """
    import shutil
    import tempfile  # these take long to import, and are not often needed

    place = Path(tempfile.gettempdir()) if within is None else within
    if place not in _cleaned:
        _cleaned.add(place)
        remove_left_over(place)
    folder = place / f"bmerge-{kind}.{os.getpid()}-{os.urandom(8).hex()}{_SUFFIX}"
    folder.mkdir(mode=0o700)
    lock = system.lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let no other process be in such a block for the same folder, where folders can be locked.

    A temporary folder needs no lock: nobody knows it but the process that made it, which has locked
    it, and those that this one waits for.
    """
    lock = None if folder.suffix == _SUFFIX else system.lock_of(folder)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def temporary_folder_until_exit(kind: str) -> Path:
    """Return a folder among the system's temporary files that lasts as long as this process."""
    return _until_exit.enter_context(temporary_folder(kind))


@contextlib.contextmanager
def writing_within(folder: Path) -> Iterator[None]:
    """Say of a failure to write a temporary file where that was; the system's error may not.

    Raises:
        ExecutorError: for an :class:`OSError` in the block.
    """
    try:
        yield
    except OSError as error:
        message = f"cannot write a temporary file in {folder}: {error.strerror or error}"
        raise ExecutorError(message, hint="TMPDIR names another folder") from error


def fresh_name(suffix: str) -> str:
    """Return the name of a file that no program has ever loaded, for one that is to load it.

    Args:
        suffix: the kind of file, for example ``.safetensors``.
    """
    return f"bmerge-{_machine()}-{os.getpid()}-{os.urandom(6).hex()}{suffix}"


def remove_left_over(folder: Path) -> list[Path]:
    """Remove from a folder (not its subfolders) what dead processes have left; return that."""
    removed = []
    for path in left_over(folder):
        with contextlib.suppress(OSError):
            remove(path)
            removed.append(path)
    return removed


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it.

    Raises:
        OSError: if it cannot be removed.
    """
    if path.is_dir():
        import shutil

        shutil.rmtree(path)
    else:
        path.unlink()


def left_over(folder: Path) -> list[Path]:
    """Return what dead processes have left in a folder; of one that cannot be read, nothing."""
    try:
        return [p for p in sorted(folder.iterdir()) if "bmerge-" in p.name and is_left_over(p)]
    except OSError:
        return []


def is_left_over(path: Path) -> bool:
    """Tell whether something is a temporary of bmerge whose process has died.

    What belongs to somebody else, what is locked, what a process may still hold and what an index
    of shards names is not.
    """
    try:
        status = path.lstat()
    except OSError:
        return False
    is_folder = stat.S_ISDIR(status.st_mode)
    if not system.owns(status) or not (is_folder or stat.S_ISREG(status.st_mode)):
        return False
    if (named := re.fullmatch(_NAMED, path.name)) and not is_folder:
        return named[1] == _machine() and not _lives(int(named[2]), status.st_mtime)
    locked = re.fullmatch(_LOCKED, path.name)
    return locked is not None and _is_free(path, int(locked[1]), status.st_mtime)


def _is_free(path: Path, process: int, changed: float) -> bool:
    """Tell whether nobody has the lock, nor is about to take it, nor needs what is there.

    Shards that wait for their names have no lock any more.
    """
    is_staged = path.suffix != _SUFFIX
    unlocked = not system.HAS_LOCKS or is_staged or time.time() - changed < _GRACE
    if unlocked and _lives(process, changed):
        return False
    if system.HAS_LOCKS:
        lock = system.lock(path)
        if lock is None:
            return False
        os.close(lock)
    return not (is_staged and _is_named(path))


def _is_named(path: Path) -> bool:
    """Tell whether an index of shards beside a file names it; unless it can be read, it may."""
    try:
        return any(path.name in index.read_text("utf-8") for index in path.parent.glob(_INDEX))
    except (OSError, UnicodeDecodeError):
        return True


def _lives(process: int, since: float) -> bool:
    """Tell whether a process is there that may have made something at a time."""
    if not system.lives(process):
        return False
    began = system.began(process)
    return began is None or began < since + _SLACK


def _machine() -> str:
    import hashlib
    import platform

    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]
