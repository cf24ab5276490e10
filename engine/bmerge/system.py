"""The operating system, where Windows and the others differ: locks, owners, processes, names.

Lowest layer beside the errors; the native core has a seam of its own for what it does with files.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

__all__ = [
    "HAS_LOCKS",
    "began",
    "cores",
    "link",
    "lives",
    "lock",
    "lock_of",
    "nearby",
    "owns",
    "peak_memory",
    "split_command",
    "sync_folder",
    "try_lock",
]

HAS_LOCKS = sys.platform != "win32"
"""Whether whoever uses a file or folder can lock it, so that others see that. Without them a
process's number tells: on Windows no two worlds of processes share a folder of one machine."""


def link(path: Path, target: Path) -> None:
    """Give a file another name: by a link where the user may make such, else by a copy.

    Raises:
        OSError: if that cannot be made.
    """
    try:
        path.symlink_to(target)
    except OSError:
        if HAS_LOCKS:  # everybody but users of Windows may make links
            raise
        try:
            os.link(target, path)
        except OSError:
            import shutil  # takes as long to import as ten modules of ours

            shutil.copyfile(target, path)


def nearby(path: Path) -> Path:
    """Return a path as it is called from the working directory, if it lies within that."""
    try:
        here = Path.cwd()
    except OSError:  # it has been removed
        return path
    return path.relative_to(here) if here in path.parents else path


def split_command(text: str, *, backslashes: bool = sys.platform == "win32") -> list[str]:
    r"""Split a command line into arguments as a shell would.

    Args:
        text: the command line; quotes keep spaces within an argument.
        backslashes: whether a backslash is a sign like any other, as in ``C:\models``; elsewhere
            it takes the meaning of the sign after it.

    Raises:
        ValueError: if a quote is not closed.
    """
    import shlex  # only for command lines in study files

    words = shlex.shlex(text, posix=True, punctuation_chars=False)
    words.whitespace_split = True
    words.commenters = ""
    if backslashes:
        words.escape = ""
    return list(words)


if sys.platform == "win32":
    import ctypes
    import msvcrt

    _QUERY = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION
    _NO_SUCH = 87  # ERROR_INVALID_PARAMETER
    _ACTIVE = 259  # STILL_ACTIVE
    _EPOCH = 11_644_473_600  # seconds from 1601 to 1970
    _BEHIND = 1 << 20  # what is locked cannot be read, so it is a byte behind all that is written

    def owns(status: os.stat_result) -> bool:
        """Tell whether a file may be ours; the folder's rights say more here."""
        del status
        return True

    def lock(path: Path) -> int | None:
        """Return None: files are not locked here, see :data:`HAS_LOCKS`."""
        del path
        return None

    def lock_of(folder: Path) -> int | None:
        """Return None: folders are not locked here, see :data:`HAS_LOCKS`."""
        del folder
        return None

    def try_lock(descriptor: int) -> bool:
        """Lock an open file unless another process has it."""
        os.lseek(descriptor, _BEHIND, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def lives(process: int) -> bool:
        """Tell whether a process is there."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = ctypes.c_void_p
        handle = kernel.OpenProcess(_QUERY, 0, process)
        if not handle:
            return ctypes.get_last_error() != _NO_SUCH
        status = ctypes.c_ulong()
        known = kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(status))
        kernel.CloseHandle(ctypes.c_void_p(handle))
        return not known or status.value == _ACTIVE

    def began(process: int) -> float | None:
        """Return when a process began: its number may have been used before."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = ctypes.c_void_p
        handle = kernel.OpenProcess(_QUERY, 0, process)
        if not handle:
            return None
        times = [ctypes.c_ulonglong() for _ in range(4)]
        known = kernel.GetProcessTimes(ctypes.c_void_p(handle), *map(ctypes.byref, times))
        kernel.CloseHandle(ctypes.c_void_p(handle))
        return times[0].value / 1e7 - _EPOCH if known else None

    def sync_folder(folder: Path) -> None:
        """Do nothing: names are in the file system's journal, and a folder cannot be opened."""
        del folder

    def cores() -> int:
        """Return how many cores this process may use."""
        return os.cpu_count() or 1

    def peak_memory() -> int | None:
        """Return None: nobody tells without a library for it."""
        return None

else:
    import fcntl
    import resource

    _PATIENCE, _PAUSE = 3.0, 0.02
    """Seconds after which it is told that a lock is waited for, and between two tries."""
    _REFUSALS = {errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP, errno.EACCES}

    def owns(status: os.stat_result) -> bool:
        """Tell whether a file is ours."""
        return status.st_uid == os.getuid()

    def lock(path: Path) -> int | None:
        """Return a descriptor that holds the lock of a file or folder; None if it is not free."""
        access = os.O_RDONLY if path.is_dir() else os.O_RDWR  # NFS locks only what may be written
        try:
            descriptor = os.open(path, access | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            free = try_lock(descriptor)
        except OSError:  # a network file system without locks
            free = False
        if not free:
            os.close(descriptor)
            return None
        return descriptor

    def lock_of(folder: Path) -> int | None:
        """Return a descriptor that holds the lock of a folder, once whoever has it is through.

        None where there are no such locks: on some network file systems, and in folders that
        cannot be listed.
        """
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if not try_lock(descriptor):
                _wait_for(descriptor, folder)
        except BaseException as error:  # an interrupt while it waits is one
            os.close(descriptor)
            if isinstance(error, OSError):
                return None
            raise
        return descriptor

    def _wait_for(descriptor: int, folder: Path) -> None:
        """Lock an open folder once whoever has it is through; say so if that takes long."""
        import time  # few have to wait

        from bmerge.logs import logger

        begin, told = time.monotonic(), False
        while not try_lock(descriptor):
            if not told and time.monotonic() - begin > _PATIENCE:
                told = True
                message = "%s is locked by another program, which is waited for"
                logger(__name__).warning(message, folder)
            time.sleep(_PAUSE)

    def try_lock(descriptor: int) -> bool:
        """Lock an open file unless another process has it.

        Raises:
            OSError: if files cannot be locked there.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def lives(process: int) -> bool:
        """Tell whether a process is there."""
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):
            pass
        return True

    def began(process: int) -> float | None:
        """Return when a process began, where the system tells: its number may be an old one."""
        try:
            status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
            ticks = int(status.rpartition(")")[2].split()[19])
            stats = Path("/proc/stat").read_text(encoding="ascii")
            boot = int(stats.partition("\nbtime ")[2].split(maxsplit=1)[0])
            return float(boot + ticks / os.sysconf("SC_CLK_TCK"))
        except (OSError, ValueError, IndexError):
            return None

    def sync_folder(folder: Path) -> None:
        """Wait until the names in a folder are safe from a power failure, where that can be done.

        Shared folders of virtual machines and some network file systems refuse, and a folder may
        be one to write into only.

        Raises:
            OSError: if it fails.
        """
        try:
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise

    def cores() -> int:
        """Return how many cores this process may use."""
        if hasattr(os, "sched_getaffinity"):  # not on macOS
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    def peak_memory() -> int | None:
        """Return the most bytes that this process has had resident; None if nobody tells.

        Linux's ``ru_maxrss`` begins with what the parent process had, so its own file is read.
        """
        status = Path("/proc/self/status")
        if status.exists():
            text = status.read_text(encoding="utf-8")
            return next(int(li.split()[1]) * 1024 for li in text.splitlines() if "VmHWM" in li)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
