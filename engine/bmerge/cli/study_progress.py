"""What a running study shows on stderr: one live line in a terminal, else a line per trial."""

from __future__ import annotations

from bmerge.cli.outlook import Outlook
from bmerge.cli.output import human_time
from bmerge.cli.progress import LiveLine
from bmerge.errors import counted
from bmerge.study.events import (
    Event,
    Paused,
    PictureDone,
    ProofPicture,
    RacingChosen,
    StudyStarted,
    TrialFinished,
    TrialStarted,
    Waiting,
)
from bmerge.trials.figures import figure
from bmerge.trials.limits import UNLIMITED, Limits
from bmerge.trials.trial import Trial

__all__ = ["StudyProgress", "leader_text", "pause_text", "racing_text", "trial_text"]


class StudyProgress:
    """Turns the events of a run into text.

    Args:
        line: where it is shown.
    """

    def __init__(self, line: LiveLine) -> None:
        self._line = line
        self._pace = Outlook()
        self._limits = UNLIMITED
        self._trial = self._picture = ""
        self._best: Trial | None = None
        self._waiting: int | None = None
        self._outage: str | None = None

    def on_event(self, event: Event) -> None:
        """Show what ``event`` says."""
        self._pace.on_event(event)
        if isinstance(event, StudyStarted):
            self._start(event)
        elif isinstance(event, TrialStarted):
            total = f"/{self._limits.trials}" if self._limits.trials else ""
            self._trial = f"{event.number + 1}{total}  {event.phase} ({event.source})"
            self._picture = "merging"
        elif isinstance(event, PictureDone):
            self._picture = f"{self._painting(event)}  score {figure(event.score, 3)}"
            self._outage = None
        elif isinstance(event, ProofPicture):
            self._trial = f"confirming: {event.name}"
            self._picture = f"painting {event.done} of {event.total}"
        elif isinstance(event, RacingChosen):
            self._line.say(racing_text(event))
        elif isinstance(event, Waiting):
            self._wait(event)
        elif isinstance(event, Paused):
            self._pause(event)
        elif isinstance(event, TrialFinished):
            self._finish(event)
        self._line.draw("  ".join(filter(None, (self._trial, self._picture, *self._outlook()))))

    def _start(self, event: StudyStarted) -> None:
        self._limits = (
            event.limits
            if event.total is None
            else Limits(event.total, event.limits.pictures, event.limits.minutes)
        )
        self._best = event.best
        if event.done:
            best = f"; {_best_text(event.best)}" if event.best else ""
            self._line.say(f"continuing: {_progress(event)} done{best}")

    def _wait(self, event: Waiting) -> None:
        self._picture = event.reason
        if not self._line.live and self._waiting != event.number:
            self._line.say(f"trial {event.number} waits: {event.reason}")
        self._waiting = event.number

    def _pause(self, event: Paused) -> None:
        """Say what is waited for: once for each reason of one outage."""
        self._picture = f"next attempt in {event.seconds:.0f} s: {event.reason}"
        if self._outage != event.reason:
            self._line.say(pause_text(event))
        self._outage = event.reason

    def _finish(self, event: TrialFinished) -> None:
        trial, self._best = event.trial, event.best
        self._outage = None
        failed = trial.score is None
        better = self._best is not None and self._best.number == trial.number
        if failed or better or not self._line.live:
            self._line.say(trial_text(trial, self._best))

    def _outlook(self) -> list[str]:
        """Return the best score so far, the pictures if they are limited, and the time left."""
        parts = [f"best {figure(self._best.score or 0.0)}"] if self._best else []
        if self._limits.pictures is not None:
            parts.append(f"{self._pace.painted} of {self._limits.pictures} pictures")
        if (seconds := self._pace.left) is not None:
            parts.append(f"about {human_time(seconds)} left")
        return parts

    def _painting(self, event: PictureDone) -> str:
        text = f"painting {event.index + 1} of {event.total}"
        each = self._pace.per_picture
        return text if each is None else f"{text}, {each:.2g} s each"


def pause_text(event: Paused) -> str:
    """Return one line on what is waited for.

    Args:
        event: of the first pause.
    """
    who = "the study" if event.number is None else f"trial {event.number}"
    return f"{who} waits, for {human_time(event.left)} at most: {event.reason}"


def racing_text(event: RacingChosen) -> str:
    """Return one line on whether trials race."""
    then = "stopped" if event.on else "not stopped"
    return f"a merge takes as long as {event.cost:.3g} pictures: trials that fall behind are {then}"


def trial_text(trial: Trial, best: Trial | None) -> str:
    """Return one line on a finished trial.

    Args:
        trial: the trial.
        best: the best one so far.
    """
    proposal = trial.proposal
    text = f"trial {trial.number}  {proposal.phase} ({proposal.source})  "
    if trial.score is None:
        return f"{text}failed: {trial.reason}"
    means = ", ".join(f"{name} {figure(mean, 3)}" for name, mean in trial.means.items())
    parts = " ".join(_signed(score) for score in trial.scores)
    if trial.state == "pruned":
        painted = counted(len(trial.pictures), "picture")
        return f"{text}behind after {painted}, score about {figure(trial.score)}"
    text += f"score {figure(trial.score)}" + (f" = {parts}" if parts else "")
    text += f" ({means})" if len(trial.means) > 1 else ""
    text += "  breaks a constraint" if trial.broken else ""
    return f"{text}  {_best_text(best)}" if best else text


def leader_text(leader: Trial, best: Trial) -> str:
    """Return one line on a trial with the greatest score that is not the winner.

    Args:
        leader: that trial.
        best: the winner, a baseline.
    """
    lead = figure((leader.score or 0.0) - (best.score or 0.0))
    name = best.proposal.source
    return f"trial {leader.number} leads {name} by {lead}, which may be luck"


def _progress(event: StudyStarted) -> str:
    """Return what earlier runs have done."""
    if event.total is None:
        return f"{event.done} trials of {event.painted} pictures are"
    return f"{event.done} of {event.total} trials are"


def _best_text(best: Trial | None) -> str:
    return f"best {figure(best.score or 0.0)} (trial {best.number})" if best else ""


def _signed(score: float) -> str:
    text = figure(score)
    return text if text.startswith("-") else f"+{text}"
