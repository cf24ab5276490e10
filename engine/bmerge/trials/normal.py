"""Normalisations: what makes the scores of one scorer comparable with those of another."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence

from bmerge.trials.picture_record import PictureRecord
from bmerge.trials.trial import Trial

__all__ = ["Normal", "columns", "rank", "zscore"]

Normal = Callable[[str, float], float]
"""Maps a payload's id and a raw score to a normalised one."""


def columns(trials: Iterable[Trial]) -> dict[str, list[PictureRecord]]:
    """Return scorer's label → every picture that it judged."""
    found: dict[str, list[PictureRecord]] = {}
    for trial in trials:
        for picture in trial.pictures:
            for label in picture["scores"]:
                found.setdefault(label, []).append(picture)
    return found


def zscore(label: str, pictures: Sequence[PictureRecord]) -> Normal:
    """Return (x - mean) / deviation, both among pictures of the same payload.

    The mean is each payload's own and the deviation that of all of them together: prompts differ
    by far more than merges do, and that is not a merge's merit. It counts as 1 where there is none.
    """
    groups: dict[str, list[float]] = {}
    for picture in pictures:
        groups.setdefault(picture["id"], []).append(picture["scores"][label])
    means = {name: math.fsum(scores) / len(scores) for name, scores in groups.items()}
    distances = [p["scores"][label] - means[p["id"]] for p in pictures]
    # In units of a power of two, which changes no digit: squares of the distances might overflow.
    unit = math.ldexp(1.0, math.frexp(max(map(abs, distances)))[1])
    squares = (p["weight"] * (d / unit) ** 2 for p, d in zip(pictures, distances, strict=True))
    deviation = unit * math.sqrt(math.fsum(squares) / math.fsum(p["weight"] for p in pictures))
    if deviation <= 1e-12 * max(map(abs, means.values())):  # equal but for rounding
        deviation = 1.0
    return lambda payload, score: (score - means[payload]) / deviation


def rank(label: str, pictures: Sequence[PictureRecord]) -> Normal:
    """Return the share of the pictures that score below x; equal ones count half."""
    ordered = sorted(p["scores"][label] for p in pictures if p["weight"])
    count = len(ordered)
    return lambda _, x: (bisect_left(ordered, x) + bisect_right(ordered, x)) / (2 * count)
