"""What a run tells while it works; the command line draws progress from it."""

from __future__ import annotations

from pathlib import Path

from bmerge.records import dataclass
from bmerge.trials.limits import UNLIMITED, Limits
from bmerge.trials.proof import Proof
from bmerge.trials.trial import Phase, Trial

__all__ = [
    "Event",
    "Paused",
    "PictureDone",
    "ProofPicture",
    "RacingChosen",
    "StudyFinished",
    "StudyStarted",
    "TrialFinished",
    "TrialStarted",
    "Waiting",
]


@dataclass(frozen=True, slots=True)
class StudyStarted:
    """The study is open.

    Args:
        done: trials that were finished in earlier runs.
        total: trials that it will have; None where pictures or time alone limit them.
        best: the best of those done.
        limits: of the search.
        painted: pictures that were made in earlier runs.
        minutes: that trials took in earlier runs.
    """

    done: int
    total: int | None
    best: Trial | None
    limits: Limits = UNLIMITED
    painted: int = 0
    minutes: float = 0.0


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial begins.

    Args:
        number: of the trial.
        phase: of the study.
        source: who proposed it.
        again: whether it was begun before: by a run that was cut short, or before a pause.
    """

    number: int
    phase: Phase
    source: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class PictureDone:
    """A picture was generated, scored and stored.

    Args:
        number: of the trial.
        index: of the picture, from 0.
        total: pictures of the trial.
        score: the picture's.
    """

    number: int
    index: int
    total: int
    score: float


@dataclass(frozen=True, slots=True)
class ProofPicture:
    """A fresh picture was made, to compare the winner with others.

    Args:
        name: of the merge.
        done: pictures that it has.
        total: that it will have.
        score: the picture's.
    """

    name: str
    done: int
    total: int
    score: float


@dataclass(frozen=True, slots=True)
class RacingChosen:
    """It has been measured whether trials are to race.

    Args:
        on: whether those that fall behind are stopped.
        cost: pictures that could be made in the time of a merge.
    """

    on: bool
    cost: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A trial's pictures wait to be judged; told again and again.

    Args:
        number: of the trial.
        reason: what is waited for.
    """

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Paused:
    """The study waits for its surroundings: a server, a disk; told before each attempt.

    Args:
        number: of the trial that waits; None before the first one and after the last.
        reason: what is wrong.
        seconds: until the next attempt.
        left: seconds from now after which the run gives up.
    """

    number: int | None
    reason: str
    seconds: float
    left: float


@dataclass(frozen=True, slots=True)
class TrialFinished:
    """A trial was stored, complete, pruned or failed.

    Args:
        trial: with its score or its reason.
        best: the best trial so far, this one included.
    """

    trial: Trial
    best: Trial | None


@dataclass(frozen=True, slots=True)
class StudyFinished:
    """The search is over and the best merge is written.

    Args:
        best: the winner; None if no trial is complete.
        checkpoint: its merged checkpoint.
        recipe: its recipe.
        front: recipes of the Pareto front, where there are several objectives.
        reason: which limit has ended the search.
        proof: how the best merge compares with others on fresh pictures; None where it was not
            asked.
        leader: the trial with the greatest score; not ``best`` where its lead over that baseline
            may be luck.
    """

    best: Trial | None
    checkpoint: Path | None
    recipe: Path | None
    front: tuple[Path, ...] = ()
    reason: str = ""
    proof: Proof | None = None
    leader: Trial | None = None


Event = (
    StudyStarted
    | TrialStarted
    | PictureDone
    | ProofPicture
    | RacingChosen
    | Waiting
    | Paused
    | TrialFinished
    | StudyFinished
)
