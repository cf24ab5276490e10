"""What a generator and a scorer are: the protocols that their plugins implement.

Generators make pictures with a merged model, scorers turn a picture into a number. Neither
knows of optimisers, trials or plugins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from bmerge.records import dataclass

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "Checked",
    "DependentScorer",
    "Exhibit",
    "Generator",
    "HandsOver",
    "MergedModel",
    "Payload",
    "Picture",
    "Scorer",
    "StoredPicture",
    "TakesFiles",
    "Timed",
    "TrialScorer",
]


@dataclass(frozen=True, slots=True)
class Payload:
    """One picture to be made.

    Args:
        id: names the picture within a trial; the same in every trial of a study.
        prompt: what the picture is to show.
        negative_prompt: what it is not to show.
        seed: of the initial noise, 0 … 2**32 - 1.
        steps: sampling steps, 1 or more.
        cfg: classifier-free guidance scale.
        width: in pixels, or None for the generator's own.
        height: in pixels, or None for the generator's own.
        sampler: a name that the generator knows, or None for its own.
        weight: of the picture's score in the trial's mean, 0 or more.
        tags: words by which scorers choose what they judge.
        extra: whatever else the generator understands, by its own names.
    """

    id: str
    prompt: str
    negative_prompt: str = ""
    seed: int = 0
    steps: int | None = None
    cfg: float | None = None
    width: int | None = None
    height: int | None = None
    sampler: str | None = None
    weight: float = 1.0
    tags: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture that was made.

    Args:
        payload: what it was made for.
        image: the picture, RGB.
        info: what the generator says of how it was made.
    """

    payload: Payload
    image: Image
    info: Mapping[str, Any] = field(default_factory=dict)


class MergedModel(Protocol):
    """A merge that has been planned but not yet carried out; given to a generator.

    A generator takes it in the form that costs least: into parameters that it already holds,
    or as a file.
    """

    def into(self, state_dict: Mapping[str, Any]) -> None:
        """Merge into live tensors, key by key, in place.

        Only keys whose value changed since the last call with the same mapping object are
        computed.

        Args:
            state_dict: key → torch tensor or numpy array that is overwritten; a tensor on
                torch's ``meta`` device stands for a key that is not wanted, and costs nothing.

        Raises:
            ExecutorError: if a key is missing there or has another shape.
        """

    def layout(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of every tensor that the merge has, by key; nothing is computed."""

    def file(self, *, lent: bool = False) -> Path:
        """Return a checkpoint file of the merge, written at the first call.

        It has a fresh name for each merge and is gone when the trial ends.

        Args:
            lent: whether the next trial's file may be made of it, under another name, by writing
                what differs. That is for files that only programs of this machine read, none of
                which computes with it once the last picture is made.
        """


@runtime_checkable
class Timed(Protocol):
    """A merged model that knows how long merging took."""

    seconds: float
    """So far."""


@runtime_checkable
class HandsOver(Protocol):
    """A generator that brings the model's file to where a server sees it."""

    handed_over: float
    """Seconds that this took in the last ``load``."""


@runtime_checkable
class Generator(Protocol):
    """Makes pictures with a merged model.

    Life: constructed once for a run with its options, then for each trial ``load`` once and
    ``generate`` once, all from one thread, and ``close`` once at the end, also after errors.
    A study with several evaluators makes one for each; each has a thread of its own for trials,
    and is constructed and closed in the main one.
    """

    def load(self, model: MergedModel) -> None:
        """Take a merged model; called before the pictures of each trial.

        Raises:
            GeneratorError: if the model could not be taken.
        """

    def generate(self, payloads: Sequence[Payload]) -> Iterator[Picture]:
        """Yield one picture for each payload, in their order, as soon as each is ready.

        The caller may stop asking at any picture.

        Raises:
            GeneratorError: if a picture could not be made.
        """

    def close(self) -> None:
        """Release whatever is held."""


@runtime_checkable
class Scorer(Protocol):
    """Turns pictures into numbers; greater is better.

    Constructed once for a run. ``score`` is called with one or more pictures at a time, in any
    order, never twice at once, while the generator makes the next ones: in another thread than
    the generator's, a new one for each trial.
    """

    def score(self, pictures: Sequence[Picture]) -> Sequence[float]:
        """Return one finite number for each picture.

        Raises:
            ScorerError: if a picture cannot be judged.
        """


@runtime_checkable
class Checked(Protocol):
    """What a generator or a scorer may have besides, to find before the first trial what is wrong.

    ``check`` is called once at the start of each run, before any trial, in the thread of the
    study, and by ``bmerge run FILE --check``. While a study waits for it, it is called before the
    trial is tried again, between ``generate`` of one trial and ``load`` of the next.
    """

    def check(self, *, paint: bool) -> None:
        """Complain about whatever would make every trial fail.

        A server's address and password, a model folder that both sides must see, weights that
        a scorer has to load, a program that is not installed.

        Args:
            paint: whether one small picture may be made, or one be judged, to be sure; else
                only cheap questions are asked.

        Raises:
            GeneratorError, ScorerError: with ``blame="surroundings"`` for what may pass and
                ``blame="study"`` for what the study file must change.
        """


@runtime_checkable
class TakesFiles(Protocol):
    """What a generator may have besides, if it asks each merge for its file.

    Room for the file is then looked for before the first trial.
    """

    @property
    def takes_files(self) -> bool:
        """Whether it does."""


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture that lies in the study's folder.

    Args:
        payload: what it was made for.
        file: its path within the folder, with forward slashes.
    """

    payload: Payload
    file: str


@dataclass(frozen=True, slots=True)
class Exhibit:
    """All pictures of one trial, for a scorer that judges them together.

    Args:
        folder: of the study.
        trial: its number.
        pictures: in the order of the payloads.
        objective: the trial's score by the other scorers; None if none of them has a weight.
        earlier: the same of each trial that is complete.
        on_wait: to be called now and then while the scorer waits, with what for.
    """

    folder: Path
    trial: int
    pictures: tuple[StoredPicture, ...]
    objective: float | None
    earlier: tuple[float, ...]
    on_wait: Callable[[str], None]


@runtime_checkable
class TrialScorer(Protocol):
    """Judges the pictures of a whole trial, when all other scorers are done with them.

    Constructed once for a run. The pictures are stored before it is asked, so it may take days:
    a run that is stopped meanwhile does not make them again, but asks once more.
    """

    def score_trial(self, exhibit: Exhibit) -> Sequence[float]:
        """Return one finite number for each picture.

        Raises:
            ScorerError: if the trial cannot be judged.
        """

    def revise(self, folder: Path) -> Mapping[int, float]:
        """Return trial → mean score as it is known now, for trials of the study in ``folder``.

        Called after each trial. What the optimiser was told stays as it was, so that it can go
        on after an interruption; the best trial is chosen, and reports are made, by these.
        """


@runtime_checkable
class DependentScorer(Protocol):
    """What a scorer may have besides, if it goes by the others' scores."""

    def check_others(self, *, weighted: bool) -> None:
        """Complain before a study starts, if the other scorers do not suffice.

        Args:
            weighted: whether one that judges picture by picture has a weight in an objective.

        Raises:
            StudyError: if that is needed.
        """
