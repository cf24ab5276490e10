"""The entry point: little enough to be there at once, so that Ctrl-C is clean from the start.

Exit status 0 for success, 1 for a failure, 2 for wrong usage; after a signal 128 and its number:
130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
"""

from __future__ import annotations

import gc
import os
import sys

from bmerge.cli import streams

TYPE_CHECKING = False  # typing itself takes as long to import as all of this
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

__all__ = ["main", "program"]


def program() -> NoReturn:
    """Be the program ``bmerge``: as :func:`main`, of which nothing comes afterwards."""
    try:
        main()
    except SystemExit as ending:
        if isinstance(ending.code, int):
            from bmerge.cli.leaving import leave

            leave(ending.code)
        raise


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run ``bmerge`` and leave the process with its exit status.

    Args:
        arguments: the command line without the program's name; None takes the process's own, and
            the process's signals too.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    _open_what_is_closed()
    if _tells_version(words):
        sys.exit(0)
    from bmerge.cli import signals  # which the version is told without

    try:
        if arguments is None:
            # What a command imports lives until its end: to look for garbage among it is a tenth
            # of the time that a small merge takes. It begins when the verb is there.
            gc.disable()
            signals.watch()
            streams.keep()
        status = _call(words)
        signals.settle()
        if arguments is None:
            _tell_what_keeps_us()
    except BaseException:
        # Where a signal comes while a module is being imported, it can be any exception.
        if not signals.received():
            raise
        status = _interrupted()
    sys.exit(status)


def _open_what_is_closed() -> None:
    """Let standard streams that the caller has closed lead to nowhere.

    The next file that is opened would take the number of such a stream, and get what native code
    and other programs write to it: a model that is being written, for instance.
    """
    for number, name in enumerate(streams.NAMES):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, number == descriptor)
            setattr(sys, name, streams.opened(number, descriptor))


def _tells_version(words: list[str]) -> bool:
    """Print the version if that is all that is asked: to read the command line takes longer."""
    if words != ["--version"]:
        return False
    from bmerge.version import __version__

    try:
        sys.stdout.write(f"bmerge {__version__}\n")  # what prints else is not there yet
        sys.stdout.flush()
    except OSError:  # what reads it has gone, which is said as of any command
        return False
    return True


def _call(words: list[str]) -> int:
    from bmerge.cli.call import call  # may take a while, and may be interrupted already

    return call(words)


def _tell_what_keeps_us() -> None:
    """Say for whose threads Python is going to wait, where there are any."""
    from bmerge.cli.leaving import threads_left

    if threads_left():
        from bmerge.cli.lingering import tell_of_threads  # few commands leave threads

        tell_of_threads()


def _interrupted() -> int:
    """Say so with what is there without importing anything more."""
    from bmerge.cli import signals

    signals.settle()
    try:  # noqa: SIM105
        os.write(2, b"stopped\n")
    except OSError:  # the terminal has gone
        pass
    return signals.status()
