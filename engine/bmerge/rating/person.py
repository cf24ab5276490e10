"""The scorer that asks a person: it offers each trial to the page and waits for the answers."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from bmerge.errors import ScorerError, StudyError
from bmerge.evaluate.protocols import Exhibit
from bmerge.rating.ratings import Mode, Offer, Ratings
from bmerge.rating.scores import standings
from bmerge.system import nearby

__all__ = ["PersonScorer"]

_PAUSE = 0.5  # seconds between looks at the answers


class PersonScorer:
    """Asks a person, by the page of ``bmerge rate``.

    Args:
        mode: ``pairwise``, this trial's picture or an earlier one's, or ``0-10``, a mark for each
            picture.
        questions: the most that are asked on each trial.
        only_best: share of trials that the person sees, 0 … 1: those that are among the best so
            far by the other scorers. The others get the lowest score of those that were seen.
    """

    def __init__(
        self, *, mode: Mode = "pairwise", questions: int = 8, only_best: float = 1.0
    ) -> None:
        if mode not in get_args(Mode):
            raise ValueError(f"mode is {mode!r}, must be {' or '.join(get_args(Mode))}")
        if questions < 1:
            raise ValueError(f"questions is {questions}, must be 1 or more")
        if not 0 < only_best <= 1:
            raise ValueError(f"only_best is {only_best}, must be above 0 and at most 1")
        self._mode, self._questions, self._only_best = mode, questions, only_best

    def check_others(self, *, weighted: bool) -> None:
        """Complain if ``only_best`` has nothing to go by.

        Args:
            weighted: whether one that judges picture by picture has a weight in an objective.

        Raises:
            StudyError: if none has.
        """
        if self._only_best < 1 and not weighted:
            message = "only_best needs another scorer, with a weight, to choose trials by"
            raise StudyError(message, hint="leave only_best out, or add a scorer")

    def score_trial(self, exhibit: Exhibit) -> list[float]:
        """Return the person's score for each picture, when the answers are there.

        Raises:
            ScorerError: if all questions on the trial were skipped.
        """
        ratings = Ratings(exhibit.folder)
        offer = self._offer(exhibit)
        ratings.offer(offer, exhibit.pictures, self._questions)
        progress = ratings.progress(offer.trial)
        while not progress.done:
            count = f"{progress.answered} of {progress.wanted} questions are answered"
            exhibit.on_wait(f"{count}; `bmerge rate {nearby(exhibit.folder)}` asks them")
            time.sleep(_PAUSE)
            progress = ratings.progress(offer.trial)
        standing = standings(ratings).get(offer.trial)
        if standing is None:
            raise ScorerError("nothing is known of this trial: all questions were skipped")
        marks = {rating.payload: rating.value for rating in ratings.ratings(offer.trial)}
        return [
            standing.score if (mark := marks.get(picture.payload.id)) is None else float(mark)
            for picture in exhibit.pictures
        ]

    def revise(self, folder: Path) -> Mapping[int, float]:
        """Return trial → score by all answers so far, later ones included."""
        return {trial: standing.score for trial, standing in standings(Ratings(folder)).items()}

    def _offer(self, exhibit: Exhibit) -> Offer:
        """Return the trial with whether it is good enough to be shown."""
        place = 1 + sum(other > (exhibit.objective or 0.0) for other in exhibit.earlier)
        shown = place <= math.ceil(self._only_best * (len(exhibit.earlier) + 1))
        return Offer(exhibit.trial, self._mode, shown)
