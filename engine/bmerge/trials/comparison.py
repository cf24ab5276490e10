"""Two merges picture by picture: how far apart they are, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from bmerge.evaluate.payloads import Witnesses
from bmerge.records import dataclass
from bmerge.trials.certainty import lead_of
from bmerge.trials.constraint import Constraint
from bmerge.trials.objective import Objective, Scale
from bmerge.trials.picture_record import PictureRecord, ProofRecord

__all__ = ["Comparison", "Margin", "comparison", "margin", "on_scale"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first contender against another one.

    Args:
        rival: the other one's name.
        difference: of the objective's means on the same pictures; above 0 the first is better.
        low: lower end of its 95 % confidence interval.
        high: upper end.
        p: of the two-sided paired t-test over prompts; small where chance alone makes no such
            difference.
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


def comparison(
    rival: str, scale: Scale, own: Sequence[PictureRecord], other: Sequence[PictureRecord]
) -> Comparison:
    """Compare two merges picture by picture.

    Args:
        rival: name of the second one.
        scale: scores pictures.
        own: pictures of the first one, one at least.
        other: those of the second one, of the same payloads in the same order.
    """
    lead = lead_of(scale, own, other)
    return Comparison(rival, lead.value, *lead.interval, lead.p, len(own))


def margin(
    constraint: Constraint,
    pairs: Sequence[tuple[ProofRecord, ProofRecord]],
    witnesses: Witnesses,
) -> Margin:
    """Return by how much a merge holds a constraint.

    Args:
        constraint: that is to hold.
        pairs: the merge's record of each picture that its scorer judges, and the model's.
        witnesses: how the study's pictures hang together.
    """
    plain = Scale((Objective("", {constraint.scorer: 1.0}),), {}, witnesses=witnesses)
    own, other = ([*map(on_scale, side)] for side in zip(*pairs, strict=True))
    beside = comparison("", plain, own, other)
    slack = constraint.slack
    return Margin(beside.difference + slack, beside.low + slack, beside.high + slack)


def on_scale(record: ProofRecord) -> PictureRecord:
    """Return a record as the objective knows it: normalisation goes by the payload's own id."""
    return cast("PictureRecord", {**record, "id": record["payload"]})
