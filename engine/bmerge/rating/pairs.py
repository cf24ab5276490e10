"""Which two trials are compared next, and by which picture.

The first half of a trial's comparisons is with the strongest trial so far, as the run's question
is whether there is a better one. The others go where they tell most: a trial that lost clearly is
placed among its like. Every comparison links a trial with others, so all strengths are on one
scale.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from bmerge.rating.strengths import AnsweredPair, fit_strengths

__all__ = ["choose_pair", "linked"]


def choose_pair(
    trial: int,
    payloads: Sequence[str],
    asked: Mapping[int, set[str]],
    comparisons: Sequence[AnsweredPair],
    rivals: Sequence[int],
    *,
    share: float,
) -> tuple[int, str] | None:
    """Return the rival and the payload of the next comparison of a trial, or None.

    Args:
        trial: that is judged.
        payloads: ids of its pictures.
        asked: rival → payloads by which it was already compared with this trial.
        comparisons: answered so far, of all trials.
        rivals: trials that it can be compared with; the first is the anchor.
        share: of this trial's comparisons that are answered, 0 … 1.
    """
    able = [rival for rival in rivals if set(payloads) - asked.get(rival, set())]
    if not able:
        return None
    fit = fit_strengths(comparisons, list(dict.fromkeys((*rivals, trial))))
    rival = max(able, key=fit.of)
    if share >= 0.5:
        rival = max(able, key=lambda other: fit.information(trial, other))
    return rival, _payload(trial, payloads, asked, rival)


def linked(anchor: int, comparisons: Iterable[AnsweredPair]) -> list[int]:
    """Return the anchor and the trials that answers link to it, in order of their numbers."""
    neighbours: dict[int, set[int]] = {}
    for comparison in comparisons:
        neighbours.setdefault(comparison.first, set()).add(comparison.second)
        neighbours.setdefault(comparison.second, set()).add(comparison.first)
    found, ahead = {anchor}, [anchor]
    while ahead:
        new = neighbours.get(ahead.pop(), set()) - found
        found |= new
        ahead += new
    return [anchor, *sorted(found - {anchor})]


def _payload(trial: int, payloads: Sequence[str], asked: Mapping[int, set[str]], rival: int) -> str:
    """Return a picture that was not compared with this rival, of those that were used least."""
    used = [payload for done in asked.values() for payload in done]
    order = random.Random(trial).sample(list(payloads), len(payloads))  # noqa: S311  no secret
    free = [payload for payload in order if payload not in asked.get(rival, set())]
    return min(free, key=used.count)
