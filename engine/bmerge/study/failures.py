"""What is to blame for a failure in a trial, decided in one place: merge, surroundings or study.

An error that says so itself is believed. Of all others the merge is to blame, unless an error of
the system lies at the bottom: a merge, however bad, fills no disk and refuses no connection. Memory
that runs out is counted to the surroundings as well: all merges of a study are of one size, so none
of them is the reason. Nor does a merge make an import fail, and to wait does not help.
"""

from __future__ import annotations

from collections.abc import Iterator

from bmerge.errors import Blame, BmergeError, PluginError, RecipeError
from bmerge.evaluate.durable import FOR_GOOD
from bmerge.faults import in_one_line, lacks_threads

__all__ = ["UnexplainedError", "blame_of", "may_pass_soon"]


class UnexplainedError(BmergeError):
    """A trial fails again and again for its surroundings' sake, although they are as they must be.

    Args:
        error: of the last attempt.
        times: how many attempts there were.
    """

    def __init__(self, error: Exception, times: int) -> None:
        super().__init__(f"{in_one_line(error)} ({times} times, while everything else worked)")


def blame_of(error: BaseException) -> Blame:
    """Return what is to blame for an error that a trial has met."""
    if isinstance(error, UnexplainedError):
        return "merge"
    blame: Blame | None = getattr(error, "blame", None)
    if blame in {"surroundings", "study"}:
        return blame
    if isinstance(error, PluginError | RecipeError):
        return "study"
    return next(filter(None, map(_blame_of_system, _chain(error))), "merge")


def may_pass_soon(error: Exception) -> bool:
    """Tell whether an error may pass though nobody does anything, as a server that is starting.

    Generators and scorers know that; a wrong password does not pass.
    """
    return bool(getattr(error, "transient", True))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that led to it."""
    seen: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in seen:
        seen.append(step)
        yield step
        before = None if step.__suppress_context__ else step.__context__
        # Who looks for a file and continues without it has got over that.
        step = step.__cause__ or (None if isinstance(before, FileNotFoundError) else before)


def _blame_of_system(error: BaseException) -> Blame | None:
    """Return what is to blame for an error of the system; None for any other.

    Those of the native core have an ``errno`` and are no :class:`OSError`; some of Python's, such
    as a timeout, have none; and some of Pillow's are an :class:`OSError` and mean a bad picture.
    """
    if isinstance(error, MemoryError | ConnectionError | TimeoutError) or lacks_threads(error):
        return "surroundings"
    if isinstance(error, ImportError):  # of what was upgraded meanwhile
        return "study"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported for this
        return "surroundings"
    number = getattr(error, "errno", None)
    if not isinstance(number, int):
        return None
    return "study" if number in FOR_GOOD else "surroundings"
