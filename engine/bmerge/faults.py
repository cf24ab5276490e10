"""How a failure in somebody else's code is told: in one line, with the file and line to look at.

Almost the lowest layer: plugins' functions are called in executors, in evaluation, in studies and
on the command line, and all of them say in the same words what went wrong where.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bmerge.errors import BmergeError, redacted
from bmerge.extras import as_missing_extra
from bmerge.logs import logger

__all__ = [
    "EndedError",
    "after_each",
    "contained",
    "explained",
    "in_one_line",
    "lacks_threads",
    "place_of",
]

_checks: list[Callable[[], None]] = []
_OWN = Path(__file__).parent
_CALLERS = ("click", "pluggy")
"""Packages that call a plugin's functions on our behalf."""


class EndedError(Exception):
    """What somebody else's code raised that means something to Python; its message says it all."""


def in_one_line(error: BaseException) -> str:
    """Return what ``error`` says, and where in the code it came from: ``KeyError: 'x' (a.py:3)``.

    Args:
        error: with its traceback; one of bmerge's own speaks for itself.
    """
    if isinstance(error, BmergeError | EndedError):
        return str(error)
    if missing := as_missing_extra(error):
        return f"{missing} ({missing.hint})"
    text = redacted(" ".join(_text_of(error).split()))
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    place = place_of(error)
    return f"{told} ({place})" if place else told


def _text_of(error: BaseException) -> str:
    """Return what an error says, which is code of whoever wrote it."""
    try:
        with contained():
            return str(error)
    except Exception as failure:  # noqa: BLE001  it can raise anything
        return f"its text cannot be told: {type(failure).__name__}"


@contextmanager
def contained() -> Iterator[None]:
    """Make an ordinary exception of whatever somebody else's code raises, but of an interrupt.

    Exits, a :class:`GeneratorExit`, a cancelled task of asyncio, and panics of libraries that are
    written in Rust are only a :class:`BaseException`, and failures like all others. So is a
    :class:`StopIteration`, which would end the generators that it goes through.

    A process that the code has forked and that comes back from it ends here: two would do the same
    work, and write the same files.

    Raises:
        EndedError: for each of these. Another :class:`Exception` passes as it is.
    """
    process = os.getpid()
    try:
        yield
    except BaseException as error:
        passes = isinstance(error, Exception | KeyboardInterrupt)
        if passes and not isinstance(error, StopIteration):
            raise
        raise EndedError(in_one_line(error)).with_traceback(error.__traceback__) from error
    finally:
        if os.getpid() != process:
            _end_copy()
        for check in _checks:
            check()


def _end_copy() -> None:
    """End a process that a plugin has forked."""
    logger(__name__).error("a plugin's code forked a process that came back from it: that one ends")
    os._exit(1)


def after_each(check: Callable[[], None]) -> None:
    """Have something looked after whenever somebody else's code has run."""
    if check not in _checks:
        _checks.append(check)


@contextmanager
def explained(doing: str, make: Callable[[str], BmergeError]) -> Iterator[None]:
    """Turn what somebody else's code raises into an error of bmerge that says what was being done.

    Errors of bmerge pass as they are: whoever raises one has said what is wrong.

    Args:
        doing: what goes before the failure: ``the scorer 'x' failed at the picture 'y'``.
        make: makes the error from its message.
    """
    try:
        with contained():
            yield
    except BmergeError:
        raise
    except Exception as error:
        if missing := as_missing_extra(error):
            raise missing from error
        raise make(f"{doing}: {in_one_line(error)}") from error


def lacks_threads(error: BaseException) -> bool:
    """Tell whether the system lets no more threads begin; Python says so by words alone."""
    return type(error) is RuntimeError and str(error) == "can't start new thread"


def place_of(error: BaseException) -> str | None:
    """Return ``file:line`` of the code outside bmerge that is to blame for ``error``.

    That is the innermost line in the folder of the first code that bmerge called: where a plugin
    calls numpy wrongly it is the plugin's line, not numpy's.

    Args:
        error: with its traceback.

    Returns:
        None where nothing but bmerge's own code was running.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    import traceback  # few commands fail

    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if not _is_ours(Path(frame.filename))]
    if not outside:
        return None
    home = Path(outside[0].filename).parent
    last = [frame for frame in outside if home in Path(frame.filename).parents][-1]
    return f"{last.filename}:{last.lineno}"


def _is_ours(file: Path) -> bool:
    """Tell whether a file is bmerge's, Python's, or of a package that stands between them."""
    if _OWN in file.parents or not file.is_absolute():  # <frozen importlib>, <string>
        return True
    import sysconfig  # the same

    library = Path(sysconfig.get_path("stdlib"))
    if library in file.parents and "site-packages" not in file.parts:
        return True
    return any(part in _CALLERS for part in file.parent.parts[-2:])
