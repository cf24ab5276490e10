"""Names for checkpoints in a server's model folder: never used before, and known as ours.

A name says which process of which machine put the file there, so that files of a run that was
killed are found and removed by the next one, and files of a run that still goes on are not.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import re
import secrets
from pathlib import Path

__all__ = ["fresh_name", "is_ours", "remove_leftovers"]

_log = logging.getLogger(__name__)

_OURS = re.compile(r"bmerge-([0-9a-f]{6})-(\d+)-[0-9a-f]{12}\.\w+")


def fresh_name(suffix: str) -> str:
    """Return a file name that no model of the server has or ever had.

    Args:
        suffix: the kind of file, for example ``.safetensors``.
    """
    # Letters, digits and dashes only: the web UIs rewrite other signs in what they report.
    return f"bmerge-{_machine()}-{os.getpid()}-{secrets.token_hex(6)}{suffix}"


def is_ours(name: str) -> bool:
    """Tell whether a model's name, which may have folders, was made by :func:`fresh_name`."""
    return _OURS.fullmatch(name.replace("\\", "/").rpartition("/")[2]) is not None


def remove_leftovers(folder: Path) -> None:
    """Remove what earlier processes of this machine left in ``folder`` when they were killed."""
    for path in folder.glob("bmerge-*"):
        match = _OURS.fullmatch(path.name)
        if match and match[1] == _machine() and not _runs(int(match[2])):
            _log.info("removing %s, which an interrupted run left behind", path)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _log.warning("cannot remove %s: %s", path, error.strerror or error)


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def _runs(pid: int) -> bool:
    """Whether a process of that number is there; where that cannot be asked, yes."""
    if os.name != "posix":  # elsewhere signal 0 is not a question
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
