"""When a search ends: after so many trials, pictures or minutes, whichever comes first."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge.records import dataclass
from bmerge.trials.trial import Trial

__all__ = ["UNLIMITED", "Limits", "minutes_of", "pictures_of"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a search may take in all, over all of its runs.

    Args:
        trials: how many, those of the baselines and of the initial design included.
        pictures: of all trials together.
        minutes: that trials took, from taking the merge to the last score.
    """

    trials: int | None = None
    pictures: int | None = None
    minutes: float | None = None

    def reached(self, trials: Iterable[Trial], whole: int) -> str | None:
        """Say which limit lets no further trial begin; None if there is none.

        Args:
            trials: of the study so far.
            whole: pictures that a trial may take; the limit of pictures is never exceeded.
        """
        known = list(trials)
        if self.trials is not None and len(known) >= self.trials:
            return f"all {self.trials} trials are done"
        running = [trial for trial in known if trial.state == "running"]
        made = pictures_of(trial for trial in known if trial.state != "running")
        made += whole * len(running)  # which they may take
        if self.pictures is not None and made + whole > self.pictures:
            return f"{made} of {self.pictures} pictures are made, and a trial may take {whole}"
        if self.minutes is not None and minutes_of(known) >= self.minutes:
            return f"the {self.minutes:g} minutes are over"
        return None

    def trials_left(self, trials: Iterable[Trial], whole: int) -> int | None:
        """Return how many trials there will be yet, at least; None if only time limits them.

        Args:
            trials: of the study so far.
            whole: pictures that a trial may take.
        """
        known = [trial for trial in trials if trial.state != "running"]
        bounds = []
        if self.trials is not None:
            bounds.append(self.trials - len(known))
        if self.pictures is not None:
            bounds.append((self.pictures - pictures_of(known)) // whole)
        return max(0, min(bounds)) if bounds else None


UNLIMITED = Limits()


def pictures_of(trials: Iterable[Trial]) -> int:
    """Return how many pictures trials have taken."""
    return sum(len(trial.pictures) for trial in trials)


def minutes_of(trials: Iterable[Trial]) -> float:
    """Return for how long trials were evaluated."""
    return sum(trial.seconds.get("total", 0.0) for trial in trials) / 60
