"""Patience with a study's surroundings: growing pauses, news of what is waited for, and an end.

What fails because of a server, a disk or a password is done again, until it works or patience runs
out; the run then stops, and whatever was unfinished stays so. Patience starts afresh with every
picture and every answer of the storage, so that it is one outage that must not last longer. Until
the first picture, somebody is likely to sit there: what will not pass by itself is not waited for,
and nothing for long.

Once a whole trial is done, the study is known to be in order. What a server says against it from
then on, as a proxy that redirects or an extension that is not loaded yet after a restart, is waited
for too, but not for long: by now it may be true.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from bmerge.errors import Blame, GeneratorError, ScorerError, StudyError
from bmerge.evaluate.evaluation import Evaluator
from bmerge.evaluate.protocols import Checked
from bmerge.faults import contained, in_one_line
from bmerge.study.events import Paused
from bmerge.study.failures import UnexplainedError, blame_of, may_pass_soon

__all__ = ["Patience"]

T = TypeVar("T")

_FIRST, _LONGEST = 1.0, 60.0  # seconds of the pauses; each is twice the one before
_AT_START = 120.0  # seconds of patience before the first picture
_AGAINST = 60.0  # with what is said against a study that has worked
_UNEXPLAINED = 3  # failures that the surroundings do not explain, in
_UNEXPLAINED_FOR = 300.0  # seconds at least, after which the merge must be to blame


class _GivenUpError(StudyError):
    """Patience has run out; what it was about stays unfinished."""


class Patience:
    """Does what may fail for a passing reason, again and again, as long as that makes sense.

    Args:
        minutes: how long one outage may last; 0 waits for nothing.
        evaluator: whose generator and scorers are asked whether they work.
        on_event: told of every pause.
        clock: seconds that pass.
        sleep: lets seconds pass.
    """

    def __init__(
        self,
        minutes: float,
        evaluator: Evaluator,
        on_event: Callable[[Paused], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._seconds = 60.0 * minutes
        self._evaluator = evaluator
        self._on_event = on_event
        self._clock, self._sleep = clock, sleep
        self._worked = self._trusted = False
        self._since: float | None = None
        self._against_since: float | None = None
        self._pauses = self._failures = self._unexplained = 0

    def through(
        self, action: Callable[[], T], number: int | None = None, control: Checked | None = None
    ) -> T:
        """Return what ``action`` returns, as soon as its surroundings let it.

        Args:
            action: what to do; it may be called many times.
            number: of the trial that it is done for.
            control: asked where nobody else knows whether the surroundings work.

        Raises:
            StudyError: if patience has run out.
            UnexplainedError: if it fails for a trial over and over, although whoever fails
                passes its own check.
            Exception: whatever the surroundings are not to blame for.
        """
        while True:
            try:
                result = action()
            except Exception as error:
                if isinstance(error, _GivenUpError) or self._blame(error) != "surroundings":
                    raise
                self._wait(error, number, control)
            else:
                self.relieve()
                return result

    def prove(self) -> None:
        """Take note that a picture was made and judged, so that all that is needed is there."""
        self._worked = True

    def trust(self) -> None:
        """Take note that a whole trial was evaluated: the study is not to blame any more."""
        self._trusted = True

    def relieve(self) -> None:
        """Begin anew: something has worked."""
        self._since = self._against_since = None
        self._pauses = self._failures = self._unexplained = 0

    def _blame(self, error: Exception) -> Blame:
        """Return what is to blame for an error, by what has worked before."""
        blame = blame_of(error)
        outside = isinstance(error, GeneratorError | ScorerError)
        return "surroundings" if self._trusted and outside and blame == "study" else blame

    def _wait(self, error: Exception, number: int | None, control: Checked | None) -> None:
        """Let time pass until another attempt makes sense."""
        self._failures += 1
        asked = self._asked(error)
        if control and not asked and self._failures > _UNEXPLAINED:
            asked = [control]  # late: it costs a merge and a picture
        problem: Exception | None = error
        while problem is not None:
            self._pause(problem, number)
            problem = self._problem(asked, paint=self._failures > 1)
        if asked and self._failures > 1:
            self.prove()
            self._unexplained += 1
            lasted = self._clock() - (self._since or 0.0)
            enough = min(_UNEXPLAINED_FOR, self._seconds / 2)
            if number is not None and self._unexplained >= _UNEXPLAINED and lasted >= enough:
                times = self._failures
                self.relieve()
                raise UnexplainedError(error, times) from error

    def _asked(self, error: Exception) -> Sequence[Checked]:
        """Return who can tell whether the cause of ``error`` is still there; nobody may know."""
        if isinstance(error, GeneratorError):
            parts: list[object] = [self._evaluator.generator]
        elif isinstance(error, ScorerError):
            parts = [entry.scorer for entry in self._evaluator.scorers]
        else:
            parts = []
        return [part for part in parts if isinstance(part, Checked)]

    def _problem(self, asked: Sequence[Checked], *, paint: bool) -> Exception | None:
        """Return what is still wrong with those who are asked; raise what no waiting fixes."""
        for part in asked:
            try:
                with contained():
                    part.check(paint=paint)
            except Exception as error:
                if self._blame(error) == "study":
                    raise
                return error
        return None

    def _pause(self, error: Exception, number: int | None) -> None:
        now = self._clock()
        if self._since is None:
            self._since = now
        left = self._since + self._limit(error) - now
        if blame_of(error) != "study":
            self._against_since = None
        else:
            self._against_since = now if self._against_since is None else self._against_since
            left = min(left, self._against_since + _AGAINST - now)
        if left <= 0:
            raise _given_up(error, number, now - self._since)
        pause = min(_FIRST * 2 ** min(self._pauses, 9), _LONGEST, left)
        self._pauses += 1
        self._on_event(Paused(number, in_one_line(error), pause, left))
        self._sleep(pause)

    def _limit(self, error: Exception) -> float:
        """Return for how many seconds an outage that begins with ``error`` is borne."""
        if self._worked:
            return self._seconds
        return min(self._seconds, _AT_START) if may_pass_soon(error) else 0.0


def _given_up(error: Exception, number: int | None, waited: float) -> _GivenUpError:
    what = "the study cannot continue" if number is None else f"trial {number} cannot be evaluated"
    long = f"{waited / 60:.0f} min" if waited >= 90 else f"{waited:.0f} s"
    for_long = f" (waited for {long})" if waited else ""
    hint = "fix that and run the same command again: it continues where it stopped"
    if own := getattr(error, "hint", None):
        hint = f"{own}; run the same command again to continue"
    message = f"{what}: {in_one_line(error)}{for_long}"
    return _GivenUpError(message, blame="surroundings", hint=hint)
