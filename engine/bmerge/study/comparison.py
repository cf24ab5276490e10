"""Two merges picture by picture: how far apart they are, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from bmerge.study.constraint import Constraint
from bmerge.study.objective import Objective, Scale
from bmerge.study.picture_record import PictureRecord, ProofRecord

__all__ = ["Comparison", "Margin", "comparison", "margin", "on_scale"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first contender against another one.

    Args:
        rival: the other one's name.
        difference: of the objective's means on the same pictures; above 0 the first is better.
        low: lower end of its 95 % confidence interval.
        high: upper end.
        p: of the two-sided paired t-test; small where chance alone makes no such difference.
        pictures: that both have.
    """

    rival: str
    difference: float
    low: float
    high: float
    p: float
    pictures: int

    @property
    def verdict(self) -> str:
        """Whether the first one wins, as one word or two."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "not shown to be better"


@dataclass(frozen=True, slots=True)
class Margin:
    """By how much a merge holds a constraint.

    Args:
        least: of its scorer's mean, by fresh pictures, above what is allowed; below 0 it breaks it.
        low: lower end of the 95 % confidence interval.
        high: upper end.
    """

    least: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whether the constraint holds, in a few words."""
        if self.low >= 0:
            return "holds"
        return "breaks" if self.high < 0 else "not shown to hold"


def comparison(rival: str, own: Sequence[float], other: Sequence[float]) -> Comparison:
    """Compare two merges picture by picture.

    Args:
        rival: name of the second one.
        own: shares of the first one's pictures in its score.
        other: those of the second one's, of the same payloads in the same order.
    """
    differences = [a - b for a, b in zip(own, other, strict=True)]
    count = len(differences)
    mean = math.fsum(differences) / count
    if count < 2:
        return Comparison(rival, mean, -math.inf, math.inf, 1.0, count)
    spread = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (count - 1) / count)
    if spread == 0:
        return Comparison(rival, mean, mean, mean, float(mean == 0), count)
    # Student's t; scipy.stats has it too, but takes a second to import.
    from scipy.special import stdtr, stdtrit  # type: ignore[import-untyped]

    margin = float(stdtrit(count - 1, 0.975)) * spread
    p = 2 * float(stdtr(count - 1, -abs(mean) / spread))
    return Comparison(rival, mean, mean - margin, mean + margin, p, count)


def margin(constraint: Constraint, pairs: Sequence[tuple[ProofRecord, ProofRecord]]) -> Margin:
    """Return by how much a merge holds a constraint.

    Args:
        constraint: that is to hold.
        pairs: the merge's record of each picture that its scorer judges, and the model's.
    """
    plain = Scale((Objective("", {constraint.scorer: 1.0}),), {})
    own, other = (plain.shares([*map(on_scale, side)]) for side in zip(*pairs, strict=True))
    beside = comparison("", own, other)
    slack = constraint.slack
    return Margin(beside.difference + slack, beside.low + slack, beside.high + slack)


def on_scale(record: ProofRecord) -> PictureRecord:
    """Return a record as the objective knows it: normalisation goes by the payload's own id."""
    return cast("PictureRecord", {**record, "id": record["payload"]})
