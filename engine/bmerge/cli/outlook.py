"""How fast a running study paints, and when its search will be over."""

from __future__ import annotations

import time
from collections.abc import Callable

from bmerge.study.events import (
    Event,
    PictureDone,
    StudyStarted,
    TrialFinished,
    TrialStarted,
)
from bmerge.trials.limits import UNLIMITED

__all__ = ["Outlook"]


class Outlook:
    """Counts trials and pictures, and the seconds that they take in this run.

    Args:
        clock: seconds that pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begin = clock()
        self._limits = UNLIMITED
        self._minutes = 0.0
        self._earlier = self.done = 0
        self._painted_earlier = self.painted = 0
        self._gaps: list[float] = []  # between pictures of one trial
        self._last: dict[int, float] = {}  # trial → when its last picture was made
        self._parts: dict[int, float] = {}  # trial at work → part of it that is done

    def on_event(self, event: Event) -> None:
        """Take note of what has happened."""
        now = self._clock()
        if isinstance(event, StudyStarted):
            self._limits, self._minutes = event.limits, event.minutes
            self._earlier = self.done = event.done
            self._painted_earlier = self.painted = event.painted
        elif isinstance(event, TrialStarted):
            self._last.pop(event.number, None)
        elif isinstance(event, PictureDone):
            if event.number in self._last:
                self._gaps = [*self._gaps[-31:], now - self._last[event.number]]
            self._last[event.number] = now
            self._parts[event.number] = (event.index + 1) / event.total
            self.painted += 1
        elif isinstance(event, TrialFinished):
            self.done += 1
            self._last.pop(event.trial.number, None)
            self._parts.pop(event.trial.number, None)

    @property
    def per_picture(self) -> float | None:
        """Seconds from one picture of a trial to the next, the mean of the last ones."""
        return sum(self._gaps) / len(self._gaps) if self._gaps else None

    @property
    def left(self) -> float | None:
        """Seconds until the first limit is reached; None where nothing is known yet."""
        spent = self._clock() - self._begin
        bounds = []
        if self._limits.trials is not None and (done := self._trials()):
            bounds.append(spent / done * (self._limits.trials - self._earlier - done))
        if self._limits.pictures is not None and (made := self.painted - self._painted_earlier):
            bounds.append(spent / made * (self._limits.pictures - self.painted))
        if self._limits.minutes is not None:
            bounds.append(60 * (self._limits.minutes - self._minutes) - spent)
        return max(0.0, min(bounds)) if bounds else None

    def _trials(self) -> float:
        """Return how many trials this run has done; of those at work, parts."""
        return self.done - self._earlier + sum(self._parts.values())
