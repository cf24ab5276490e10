"""Standard streams that last: plugins' code may close them, and files that are not its own.

The next file that is opened would take the number of a stream that was closed, and get what is
written to that: a model or a database, for instance. So each stream has a second descriptor, from
which it is opened again after every call of a plugin's code. Where those are gone as well, so are
files that bmerge has open, and the process ends before anything is written to what took their
numbers. This module is imported at every start, and imports next to nothing.
"""

from __future__ import annotations

import os
import sys

__all__ = ["NAMES", "keep", "opened", "restore"]

TYPE_CHECKING = False  # typing itself takes as long to import as all of this
if TYPE_CHECKING:
    from typing import TextIO

NAMES = ("stdin", "stdout", "stderr")
_LOST = (
    b"error: a plugin's code closed files that are not its own: nothing more is written\n"
    b"hint: run the same command again without that plugin; a study continues where it stopped\n"
)
_kept: dict[int, tuple[int, tuple[int, int]]] = {}
"""Number of a stream → its second descriptor, and what that leads to."""


def opened(number: int, descriptor: int) -> TextIO:
    """Return a standard stream that reads or writes an open file, and leaves it open."""
    if number == 0:
        return open(descriptor, encoding="utf-8", closefd=False)
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def keep() -> None:
    """Remember where the process's streams lead to."""
    for number in range(len(NAMES)):
        second = os.dup(number)
        _kept[number] = second, _identity(second)


def restore() -> None:
    """Open again what was closed since; end the process if that cannot be."""
    for number, (second, known) in _kept.items():
        try:
            lost = _identity(second) != known
        except OSError:
            lost = True
        if lost:
            _end()
        try:
            os.fstat(number)
        except OSError:
            os.dup2(second, number, inheritable=True)
        stream = getattr(sys, NAMES[number])
        if stream is None or stream.closed:
            setattr(sys, NAMES[number], opened(number, number))


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _end() -> None:
    try:  # noqa: SIM105
        os.write(2, _LOST)
    except OSError:  # it was closed as well
        pass
    os._exit(1)
