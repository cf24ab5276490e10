"""Evaluation of one merged model: its pictures are generated, scored and summed up.

Objects only: an :class:`Evaluator` holds a generator, scorers and payloads, and knows neither
where a model comes from nor where pictures go.
"""

from __future__ import annotations

import collections.abc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from functools import partial
from types import GeneratorType
from typing import Protocol, TypeVar

from bmerge.errors import GeneratorError, PluginError
from bmerge.evaluate.behind import Behind
from bmerge.evaluate.blamed import blamed, pictures_in_words
from bmerge.evaluate.images import taken
from bmerge.evaluate.laps import Laps
from bmerge.evaluate.protocols import (
    Generator,
    HandsOver,
    MergedModel,
    Payload,
    Picture,
    Timed,
    TrialScorer,
)
from bmerge.evaluate.scoring import WeightedScorer, scores_by
from bmerge.faults import contained, in_one_line
from bmerge.logs import logger
from bmerge.records import dataclass

__all__ = [
    "Evaluation",
    "Evaluator",
    "Persist",
    "ScoredPicture",
]

T = TypeVar("T")


_BATCH = 16  # pictures that a scorer gets at a time
_PATIENCE = 0.5  # seconds that a picture waits for others


class Persist(Protocol):
    """Does something, and again if that fails for a reason that passes."""

    def __call__(self, action: Callable[[], T], /) -> T:
        """Return what ``action`` returns."""


def _once(action: Callable[[], T]) -> T:
    return action()


def _all() -> int:
    return 2 * _BATCH


def _nothing(_: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class ScoredPicture:
    """A picture with its scores.

    Args:
        picture: the picture.
        scores: label → score, of the scorers that judge it.
        score: the weighted sum of the scores, before any normalisation.
    """

    picture: Picture
    scores: Mapping[str, float]
    score: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of one model.

    Args:
        score: the weighted sum of ``means``, before any normalisation.
        means: scorer's label → mean over the pictures that it judges, weighted by their payloads.
        seconds: what the time was spent on: ``merge``, ``hand_over``, ``load``, ``generate``, and
            ``wait`` for scores; those take ``score`` at the same time.
    """

    score: float
    means: Mapping[str, float]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Generates and scores the same pictures with every model that it is given.

    Args:
        generator: what makes pictures; closed by whoever made it.
        scorers: what judges them.
        payloads: the pictures to be made; each scorer judges one at least with a weight above 0.
        plugin: that made the generator; empty if that is not known.
    """

    generator: Generator
    scorers: tuple[WeightedScorer, ...]
    payloads: tuple[Payload, ...]
    plugin: str = ""

    @property
    def who(self) -> str:
        """What the generator is called in messages."""
        return f"the generator {self.plugin!r}" if self.plugin else "the generator"

    @property
    def picture_scorers(self) -> tuple[WeightedScorer, ...]:
        """Those that judge each picture when it is made."""
        return tuple(e for e in self.scorers if not isinstance(e.scorer, TrialScorer))

    @property
    def trial_scorers(self) -> tuple[WeightedScorer, ...]:
        """Those that judge a trial's pictures together, afterwards."""
        return tuple(e for e in self.scorers if isinstance(e.scorer, TrialScorer))

    def evaluate(
        self,
        model: MergedModel,
        on_scored: Callable[[ScoredPicture], None],
        *,
        keep: Callable[[ScoredPicture], None] = _nothing,
        persist: Persist = _once,
        wanted: Callable[[], int] = _all,
    ) -> Evaluation:
        """Generate all pictures with ``model``; each is scored while the next are made.

        Args:
            model: the merge.
            on_scored: called for each picture, in the order of the payloads.
            keep: called before that, as soon as a picture is scored, in the thread of the scorers;
                again, if it raises.
            persist: has pictures scored and kept that are made already; it may try again.
            wanted: how many pictures may be made before another one is scored; asked at the start
                and whenever some are; 0 makes an end, and the generator stops.

        Raises:
            GeneratorError, ScorerError: if a picture could not be made or judged; whatever a
                plugin or the merge raises passes through as well.
        """
        clock = Laps()
        with self._blamed("to take the model"):
            self.generator.load(model)
        clock.lap("load")
        if isinstance(model, Timed):
            clock.part("merge", model.seconds)
        if isinstance(self.generator, HandsOver):
            clock.part("hand_over", self.generator.handed_over)
        scored: list[ScoredPicture] = []
        judging = Behind(partial(self._judging, keep), _BATCH, _PATIENCE)
        with closing(self._generate()) as pictures, judging:
            for picture in _judged(pictures, judging, persist, wanted, clock):
                scored.append(picture)
                on_scored(picture)
        clock.seconds["score"] = judging.seconds
        means = self.means([(one.picture.payload.weight, one.scores) for one in scored])
        return Evaluation(self._objective(means), means, dict(clock.seconds))

    def close(self) -> None:
        """Close the generator; what that raises is told, but hides nothing that came before."""
        try:
            with contained():
                self.generator.close()
        except Exception as error:  # noqa: BLE001  it is told
            message = "%s could not be closed: %s"
            logger(__name__).warning(message, self.who, in_one_line(error), exc_info=True)

    def means(self, pictures: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
        """Return the mean of each scorer that judges picture by picture, weighted by payloads.

        Args:
            pictures: weight and scores of every picture; where some are missing, a scorer that
                has judged none of a weight above 0 has no mean.
        """
        labels = {label for weight, scores in pictures if weight for label in scores}
        known = [entry.label for entry in self.picture_scorers if entry.label in labels]
        return {label: _mean(pictures, label) for label in known}

    def _blamed(self, doing: str = "", pictures: str = "") -> AbstractContextManager[None]:
        """Say of what the generator raises that it does."""
        return blamed(self.who, GeneratorError, doing, pictures, known=bool(self.plugin))

    def _generate(self) -> collections.abc.Generator[Picture]:
        """Yield one picture for each payload, or complain about the generator."""
        with self._blamed():
            pictures = iter(self.generator.generate(self.payloads))
        try:
            yield from self._checked(pictures)
        finally:
            if isinstance(pictures, GeneratorType):  # of which no more may be wanted
                with self._blamed("to stop"):
                    pictures.close()

    def _checked(self, pictures: Iterator[object]) -> Iterator[Picture]:
        """Yield pictures, if they are those that were asked for."""
        for number, payload in enumerate(self.payloads):
            with self._blamed(pictures=pictures_in_words([payload])):
                picture: object = next(pictures, None)
            if picture is None:
                count = len(self.payloads)
                raise GeneratorError(f"{self.who} made {number} of {count} pictures")
            if not isinstance(picture, Picture):
                got = type(picture).__name__
                message = f"{self.who} made a {got} where a Picture was expected"
                raise PluginError(message, plugin=self.plugin or None)
            if picture.payload.id != payload.id:
                got = picture.payload.id
                raise GeneratorError(f"{self.who} made {got!r} where {payload.id!r} was next")
            yield taken(picture, self.who)

    def _judging(
        self, keep: Callable[[ScoredPicture], None], pictures: Sequence[Picture]
    ) -> Callable[[], list[ScoredPicture]]:
        """Return what scores and keeps pictures; called again, it continues where it failed."""
        columns: dict[str, list[float]] = {}
        kept: list[ScoredPicture] = []

        def judge() -> list[ScoredPicture]:
            for entry in self.picture_scorers:
                if entry.label not in columns:
                    columns[entry.label] = scores_by(entry, pictures)
            for scored in list(self._with_scores(pictures, columns))[len(kept) :]:
                keep(scored)
                kept.append(scored)
            return kept

        return judge

    def _with_scores(
        self, pictures: Sequence[Picture], columns: Mapping[str, Sequence[float]]
    ) -> Iterator[ScoredPicture]:
        """Yield pictures with their scores, given those of each scorer that judges them."""
        rest = {label: iter(column) for label, column in columns.items()}
        for picture in pictures:
            judging = [entry for entry in self.picture_scorers if entry.judges(picture.payload)]
            scores = {entry.label: next(rest[entry.label]) for entry in judging}
            yield ScoredPicture(picture, scores, self._objective(scores))

    def _objective(self, values: Mapping[str, float]) -> float:
        judging = [entry for entry in self.scorers if entry.weight and entry.label in values]
        return math.fsum(entry.weight * values[entry.label] for entry in judging)


def _judged(
    pictures: Iterator[Picture],
    judging: Behind[list[ScoredPicture]],
    persist: Persist,
    wanted: Callable[[], int],
    clock: Laps,
) -> Iterator[ScoredPicture]:
    """Yield pictures as they are judged, and have more made meanwhile, as far as they are wanted.

    Where the next one cannot be made, those that are waiting come before the error: they may be
    kept, and need not be made again.
    """
    failure: Exception | None = None
    made = judged = 0
    allowed = wanted()
    over = not allowed
    while not over or judged < made:
        idle = over or made >= allowed
        if idle or judging.ready:
            if idle:
                judging.flush()
            batch = persist(judging.take)
            clock.lap("wait")
            yield from batch
            judged += len(batch)
            more = wanted()
            allowed, over = judged + more, over or not more
            continue
        try:
            picture = next(pictures, None)
        except Exception as error:  # noqa: BLE001  a generator can raise anything
            failure, over = error, True
        else:
            over = picture is None
            if picture is not None:
                made += 1
                judging.put(picture)
        clock.lap("generate")
    if failure is not None:
        raise failure


def _mean(pictures: Sequence[tuple[float, Mapping[str, float]]], label: str) -> float:
    """Return the mean of one scorer's scores, weighted by the payloads."""
    judged = [(weight, scores[label]) for weight, scores in pictures if label in scores]
    return math.fsum(w * score for w, score in judged) / math.fsum(w for w, _ in judged)
