"""One call of ``bmerge``: runs a command and turns whatever goes wrong into one clear line.

A traceback is shown only with ``--debug``. The exit status is told in :mod:`.main`.
"""

from __future__ import annotations

import errno
import os
import sys

import click

from bmerge.cli import signals, streams
from bmerge.cli.logged import show_trace, told_by
from bmerge.cli.output import note
from bmerge.cli.replaced import replaced_package
from bmerge.cli.root import root
from bmerge.cli.session import Session
from bmerge.errors import BmergeError, StudyInterruptedError
from bmerge.extras import as_missing_extra
from bmerge.faults import after_each, in_one_line, lacks_threads, place_of

__all__ = ["call"]

FAILURE = 1
_HELP: type[click.UsageError] | tuple[()] = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""What newer versions of click raise for a verb of several that stands alone."""
_HINTS = {
    errno.ENAMETOOLONG: "give it a shorter name: most file systems allow 255 bytes",
    errno.EMFILE: "let more files be open at once: ulimit -n 4096",
}


def call(arguments: list[str]) -> int:
    """Run a command and return the exit status.

    Args:
        arguments: the command line without the program's name.
    """
    after_each(streams.restore)
    session = Session()
    try:
        with told_by(session):
            return _status(arguments, session)
    except SystemExit as error:
        if session.foreign or place_of(error) is None:
            raise
        return _fail(error, session)  # of a plugin that one of our own verbs has called
    except BaseException as error:  # noqa: BLE001  the last place where a bug can be told politely
        return _fail(error, session)


def _status(arguments: list[str], session: Session) -> int:
    try:
        result = root.main(arguments, prog_name="bmerge", obj=session, standalone_mode=False)
        sys.stdout.flush()  # a reader that has gone is found here, not at the interpreter's end
    except click.ClickException as error:
        return _refuse(error)
    except StudyInterruptedError as interrupted:
        _say(interrupted, "stopped")
        return signals.status()
    except (click.Abort, KeyboardInterrupt):
        note("stopped")
        return signals.status()
    except BrokenPipeError:
        # As the documentation of signal.SIGPIPE advises: nothing is left to be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    return result if isinstance(result, int) else 0


def _refuse(error: click.ClickException) -> int:
    """Say what is wrong with the command line, in the same form as every other error."""
    message = error.format_message().strip()
    if isinstance(error, _HELP):
        note(message, lines=True)
        return error.exit_code
    note(f"error: {message[:1].lower()}{message[1:].removesuffix('.')}")
    context = getattr(error, "ctx", None)
    if context is not None:
        note(f"hint: `{context.command_path} --help` shows what is allowed")
    return error.exit_code


def _fail(error: BaseException, session: Session) -> int:
    if signals.received() and not isinstance(error, BmergeError):
        # What an interrupt made of code that was not prepared for it.
        note("stopped")
        return signals.status()
    if session.debug:
        show_trace(error)
    elif package := replaced_package(error):
        note(f"error: {package} was replaced on disk while it ran: {in_one_line(error)}")
        note("hint: run the same command again; a study continues where it stopped")
    elif isinstance(error, BmergeError):
        _say(error)
    elif missing := as_missing_extra(error):
        _say(missing)
    elif isinstance(error, MemoryError):
        note("error: there is not enough memory")
    elif lacks_threads(error):
        note("error: the system lets no more threads begin")
        note("hint: free memory, or raise the limits that `ulimit -u` and `ulimit -v` show")
    elif isinstance(error, RecursionError):
        note("error: something in the input is nested too deeply")
        note("hint: --debug shows where it was met")
    elif isinstance(error, OSError) and error.filename is not None:
        note(f"error: {os.fsdecode(error.filename)}: {error.strerror or error}")
        _advise(error)
    else:
        _blame(error, session)
    return FAILURE


def _blame(error: BaseException, session: Session) -> None:
    """Say what went wrong that should not, and in whose code."""
    place = place_of(error)
    plugin = session.plugin_at(place.rpartition(":")[0]) if place else None
    if plugin:
        note(f"error: plugin {plugin!r} failed: {in_one_line(error)}")
        note("hint: --debug shows the traceback")
    elif isinstance(error, OSError):
        note(f"error: input or output: {error.strerror or error}")
    else:
        note(f"error: {in_one_line(error)}")
        note("hint: this is a bug in bmerge; --debug shows where")


def _say(error: BmergeError, word: str = "error") -> None:
    note(f"{word}: {error}")
    _advise(error)


def _advise(error: BmergeError | OSError) -> None:
    """Say what to do about an error, if that is known."""
    hint = error.hint if isinstance(error, BmergeError) else None
    cause = error if isinstance(error, OSError) else error.__cause__
    if hint is None:
        hint = _HINTS.get(getattr(cause, "errno", None) or 0)
    if hint:
        note(f"hint: {hint}")
