"""One trial's evaluation: merge, paint, score, judge; what is done is not done again.

A trial whose surroundings fail is attempted again, with the pictures that it has. They are stored
with the trial, so that the next run has them too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from bmerge.evaluate.evaluation import ScoredPicture
from bmerge.evaluate.protocols import Payload
from bmerge.faults import in_one_line
from bmerge.logs import logger
from bmerge.records import dataclass
from bmerge.study.control import Control
from bmerge.study.events import Event, PictureDone, TrialStarted, Waiting
from bmerge.study.failures import blame_of
from bmerge.study.gallery import Gallery, record_of
from bmerge.study.judging import judge_trial
from bmerge.study.study import PreparedStudy
from bmerge.study.waiting import Patience
from bmerge.trials.race import Race
from bmerge.trials.trial import Trial

__all__ = ["Attempts"]


class Shelf(Protocol):
    """What an evaluation needs of a store."""

    @property
    def trials(self) -> Mapping[int, Trial]:
        """All trials, by number."""

    def park(self, trial: Trial) -> None:
        """Store the pictures that a running trial has so far."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Evaluates trials, each as often as its surroundings make that necessary.

    Args:
        study: whose trials.
        store: where they are; pictures of an unfinished one are stored as well.
        patience: with the surroundings.
        on_event: told of what happens.
        gallery: takes the pictures.
    """

    study: PreparedStudy
    store: Shelf
    patience: Patience
    on_event: Callable[[Event], None]
    gallery: Gallery

    def evaluate(self, trial: Trial, race: Race | None = None) -> Trial:
        """Return a trial complete, pruned or, if its merge is to blame, failed; not stored yet.

        Args:
            trial: that is running.
            race: in which it may fall behind; None gives it all of its pictures.

        Raises:
            StudyError: if patience with the surroundings has run out.
            BmergeError: if the study is to blame.
        """
        count = 0

        def attempt() -> Trial:
            nonlocal count
            count += 1
            if count > 1:
                phase, source = trial.proposal.phase, trial.proposal.source
                self.on_event(TrialStarted(trial.number, phase, source, again=True))
            return self._merge_and_score(trial.number, race)

        try:
            done = self.patience.through(attempt, trial.number, self._control())
        except Exception as error:
            if blame_of(error) != "merge":
                raise
            logger(__name__).debug("trial %d failed", trial.number, exc_info=True)
            return Trial(trial.number, "failed", trial.proposal, reason=in_one_line(error))
        if done.state == "complete":
            self.patience.trust()
        return done

    def _control(self) -> Control | None:
        """Return the last trial that was evaluated, as evidence of what still works."""
        complete = [t for t in self.store.trials.values() if t.state == "complete"]
        if not complete:
            return None
        return Control(self.study, max(complete, key=lambda trial: trial.sequence or 0))

    def _merge_and_score(self, number: int, race: Race | None) -> Trial:
        trial = self.store.trials[number]
        payloads = self.study.evaluator.payloads
        order = payloads if race is None else race.in_order(payloads)
        kept = self.gallery.kept(trial)
        missing = [p for p in order if p.id not in kept]
        trial = replace(trial, pictures=tuple(kept.values()))
        lost = race is not None and race.is_lost(trial.pictures)
        if missing and not lost:
            trial = self._paint(trial, missing, race)
        trial = self._summed_up(trial)
        if race is not None and race.is_lost(trial.pictures):
            means, behind = race.means(trial.pictures), race.incumbent.number
            return replace(trial, state="pruned", means=means, incumbent=behind)
        if self.study.evaluator.trial_scorers:
            self.store.park(trial)
            on_wait = lambda reason: self.on_event(Waiting(number, reason))  # noqa: E731
            trial = judge_trial(self.study, self.store.trials, number, on_wait)
        return replace(trial, state="complete")

    def _summed_up(self, trial: Trial) -> Trial:
        """Return a trial with its pictures in the order of the payloads, and their means."""
        evaluator = self.study.evaluator
        order = {payload.id: place for place, payload in enumerate(evaluator.payloads)}
        pictures = sorted(trial.pictures, key=lambda record: order[record["id"]])
        means = evaluator.means([(p["weight"], p["scores"]) for p in pictures])
        seconds = trial.seconds or {"total": 0.0}
        return replace(trial, means=means, pictures=tuple(pictures), seconds=seconds)

    def _paint(self, trial: Trial, missing: Sequence[Payload], race: Race | None) -> Trial:
        """Merge, make the missing pictures and the scores of each; return the trial with all.

        Where a race is lost, it ends with the picture that shows it.
        """
        start = time.perf_counter()
        records = list(trial.pictures)
        evaluator = replace(self.study.evaluator, payloads=tuple(missing))
        files: dict[str, str] = {}

        def keep(scored: ScoredPicture) -> None:
            files[scored.picture.payload.id] = self.gallery.save(trial, scored)

        def tell(scored: ScoredPicture) -> None:
            payload = scored.picture.payload
            self.patience.prove()
            records.append(record_of(payload, files[payload.id], scored.scores))
            total = len(self.study.evaluator.payloads)
            self.on_event(PictureDone(trial.number, len(records) - 1, total, scored.score))

        model = self.study.merger.model(trial.proposal.merge)
        try:
            evaluation = evaluator.evaluate(
                model,
                tell,
                keep=keep,
                persist=lambda action: self.patience.through(action, trial.number),
                **({} if race is None else {"wanted": lambda: race.pace(records)}),
            )
        except BaseException as error:
            if len(records) > len(trial.pictures) and not _is_bad(error):
                with contextlib.suppress(Exception):  # where nothing can be stored, memory helps
                    self.store.park(replace(trial, pictures=tuple(records)))
            raise
        finally:
            model.close()
        seconds = {**evaluation.seconds, "total": time.perf_counter() - start}
        return replace(trial, pictures=tuple(records), seconds=seconds)


def _is_bad(error: BaseException) -> bool:
    """Tell whether an error fails the trial, so that its pictures are of no use."""
    return isinstance(error, Exception) and blame_of(error) == "merge"
