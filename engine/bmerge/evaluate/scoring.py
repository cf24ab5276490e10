"""Scorers as a study has them, and their scores, checked."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

from bmerge.errors import ScorerError
from bmerge.evaluate.blamed import blamed, pictures_in_words
from bmerge.evaluate.images import of_its_own
from bmerge.evaluate.payloads import matches
from bmerge.evaluate.protocols import Payload, Picture, Scorer, TrialScorer
from bmerge.records import dataclass

__all__ = ["WeightedScorer", "asked", "scores_by"]

_TEXT = (str, bytes)
_NO_LISTS = (*_TEXT, set, frozenset, Mapping)  # whose parts are no scores, or in no order
_GREATEST = 1e300  # of scores: sums of greater ones might overflow


@dataclass(frozen=True, slots=True)
class WeightedScorer:
    """A scorer and its part in the objective.

    Args:
        label: by which its scores are stored and shown.
        weight: of its mean over the pictures in the objective.
        scorer: what judges.
        only: patterns such as ``hands`` or ``p03-*``; it judges the payloads of which the id or
            a tag matches one. Empty for all.
        plugin: that made it; empty if that is not known.
    """

    label: str
    weight: float
    scorer: Scorer | TrialScorer
    only: tuple[str, ...] = ()
    plugin: str = ""

    def judges(self, payload: Payload) -> bool:
        """Tell whether it judges the pictures of ``payload``."""
        return not self.only or matches(payload, self.only)

    @property
    def who(self) -> str:
        """What it is called in messages: by its label, and its plugin where that is another."""
        plugin = f" ({self.plugin})" if self.plugin not in ("", self.label) else ""
        return f"the scorer {self.label!r}{plugin}"

    def blamed(self, pictures: Sequence[Payload]) -> AbstractContextManager[None]:
        """Say of what the scorer raises that it does, and at which pictures."""
        return blamed(self.who, ScorerError, pictures=pictures_in_words(pictures))


def scores_by(entry: WeightedScorer, pictures: Sequence[Picture]) -> list[float]:
    """Return one scorer's scores of those pictures that it judges.

    Args:
        entry: judges pictures one by one.
        pictures: those that it does not judge are passed over.

    Raises:
        ScorerError: if it fails, or does not give one finite number for each picture.
    """
    assert not isinstance(entry.scorer, TrialScorer)
    pictures = [picture for picture in pictures if entry.judges(picture.payload)]
    if not pictures:
        return []
    payloads = [picture.payload for picture in pictures]
    shown = [of_its_own(picture) for picture in pictures]  # as it may be scaled or closed in place
    return asked(entry, lambda scorer: scorer.score(shown), payloads)


def asked(
    entry: WeightedScorer, ask: Callable[[Any], object], pictures: Sequence[Payload]
) -> list[float]:
    """Return one scorer's scores as finite floats.

    Args:
        entry: whose they are.
        ask: asks the scorer, and returns what it gives.
        pictures: that are judged.

    Raises:
        ScorerError: if it fails, or does not give one finite number for each picture.
    """
    with entry.blamed(pictures):
        given = ask(entry.scorer)
        if not isinstance(given, Iterable) or isinstance(given, _NO_LISTS):
            got = "nothing" if given is None else reprlib.repr(given)
            raise ScorerError(f"{entry.who} gave {got}, not a list of scores")
        scores = list(given if isinstance(given, Sized) else islice(given, len(pictures) + 1))
    if len(scores) != len(pictures):
        counts = f"{len(scores)} scores for {len(pictures)} pictures"
        raise ScorerError(f"{entry.who} gave {counts}")
    return [
        _checked_score(score, entry.who, picture)
        for score, picture in zip(scores, pictures, strict=True)
    ]


def _checked_score(given: object, who: str, picture: Payload) -> float:
    """Return what a scorer gave as a finite float, or complain of it."""
    try:
        score = float("text" if isinstance(given, _TEXT) else given)  # type: ignore[arg-type]
    except OverflowError:
        score = math.inf
    except (TypeError, ValueError) as error:
        message = f"{who} gave {reprlib.repr(given)} {_to(picture)}, not a number"
        raise ScorerError(message) from error
    if not math.isfinite(score):
        raise ScorerError(f"{who} gave {score} {_to(picture)}")
    if abs(score) > _GREATEST:
        raise ScorerError(f"{who} gave {score:g} {_to(picture)}, more than {_GREATEST:g}")
    return score


def _to(picture: Payload) -> str:
    return f"to the picture {pictures_in_words([picture])}"
