"""Files that a user names, opened with care: a pipe would make a command wait for ever.

Almost the lowest layer: recipes, prompts, wildcards, workflows, models and plugins are all read
by these. What goes wrong is an OSError whose ``strerror`` completes "cannot be read: …".
"""

from __future__ import annotations

import codecs
import errno
import stat
from pathlib import Path

__all__ = ["NOT_TEXT", "SAVE_AS_TEXT", "check_regular", "read_text"]

NOT_TEXT, SAVE_AS_TEXT = "not a text file in UTF-8", "an editor can save text as UTF-8"
"""What is to be said of a UnicodeDecodeError."""

_LARGEST_TEXT = 1 << 24
"""Bytes; a recipe of thousands of steps has less than one million."""


def check_regular(path: Path) -> None:
    """Check that a path is a file that can be read to its end.

    Raises:
        OSError: if it is a folder, a pipe or a device, or there is nothing.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:
        raise OSError(errno.EINVAL, "no file can have such a name", str(path)) from error
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))


def read_text(path: Path) -> str:
    """Return what a text file holds: UTF-8, or UTF-16 that says so, as PowerShell writes it.

    Args:
        path: the file.

    Raises:
        OSError: if it is no such file, cannot be read, or is larger than any text of its kind.
        UnicodeDecodeError: if it is not text.
    """
    check_regular(path)
    if path.stat().st_size > _LARGEST_TEXT:
        limit = f"it is larger than {_LARGEST_TEXT >> 20} MiB"
        raise OSError(errno.EFBIG, limit, str(path))
    data = path.read_bytes()
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if marked else "utf-8-sig")
