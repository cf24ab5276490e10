"""Scores and differences of scores, and how sure they are.

A prompt likes one merge better than another, whatever the seed: pictures of one prompt are no
independent witnesses. So the error of a mean difference is that of sums over prompts
(:mod:`bmerge.trials.clusters`). Where all prompts have the same number of pictures of the same
weight, it is that of the paired t-test over the means of the prompts; where each has one picture,
of that over the pictures. Of a single prompt nothing can be known but other seeds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from bmerge.evaluate.payloads import Witnesses
from bmerge.records import dataclass
from bmerge.trials.clusters import certainty
from bmerge.trials.objective import Objective, Scale
from bmerge.trials.picture_record import PictureRecord

__all__ = ["Estimate", "lead_of", "score_of"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A score, or by how much one merge's score exceeds another's.

    Args:
        value: on these pictures.
        error: its standard error; infinite if a single picture counts, or none.
        freedom: degrees of freedom of that.
    """

    value: float
    error: float
    freedom: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval."""
        if not self.error:
            return self.value, self.value
        if math.isinf(self.error):
            return -math.inf, math.inf
        # Student's t; scipy.stats has it too, but takes a second to import.
        from scipy.special import stdtrit  # type: ignore[import-untyped]

        margin = float(stdtrit(self.freedom, 0.975)) * self.error
        return self.value - margin, self.value + margin

    @property
    def p(self) -> float:
        """How often chance alone makes a value that is as far from 0: a two-sided t-test."""
        if not self.error:
            return float(self.value == 0)
        if math.isinf(self.error):
            return 1.0
        from scipy.special import stdtr

        return 2 * float(stdtr(self.freedom, -abs(self.value) / self.error))


def score_of(scale: Scale, pictures: Sequence[PictureRecord]) -> Estimate:
    """Return the score of a trial of some pictures, and how sure it is.

    Args:
        scale: scores pictures.
        pictures: of one merge.
    """
    found = _influences(scale, pictures)
    return _estimate(found, pictures, scale.witnesses, by_prompt=True)


def lead_of(
    scale: Scale,
    own: Sequence[PictureRecord],
    other: Sequence[PictureRecord],
    *,
    by_prompt: bool = True,
) -> Estimate:
    """Return by how much a merge leads another one.

    Args:
        scale: scores pictures.
        own: pictures of the one.
        other: pictures of the other one, of the same payloads in the same order, judged by the
            same scorers.
        by_prompt: whether pictures of one prompt hang together; if not, each is on its own, but
            for one that is there twice.
    """
    one, two = _influences(scale, own), _influences(scale, other)
    errors = [a - b for a, b in zip(one.errors, two.errors, strict=True)]
    apart = _Influences(one.score - two.score, errors, one.parts)
    return _estimate(apart, own, scale.witnesses, by_prompt=by_prompt)


@dataclass(frozen=True, slots=True)
class _Influences:
    """A score, and of each picture: its part in the error, and in the weight of the whole."""

    score: float
    errors: Sequence[float]
    parts: Sequence[float]


def _influences(scale: Scale, pictures: Sequence[PictureRecord]) -> _Influences:
    """Return what each picture does to the score: each scorer has a mean of its own."""
    score, errors, parts = 0.0, [0.0] * len(pictures), [0.0] * len(pictures)
    for label, weight in _weights(scale).items():
        counts = [p["weight"] if label in p["scores"] else 0.0 for p in pictures]
        if not (total := math.fsum(counts)):
            continue
        shares = replace(scale, sums=(Objective("", {label: weight}),)).shares(pictures)
        mean = math.fsum(share / len(pictures) for share in shares)
        score += mean
        for place, (share, count) in enumerate(zip(shares, counts, strict=True)):
            errors[place] += share / len(pictures) - mean * count / total
            parts[place] += abs(weight) * count / total
    return _Influences(score, errors, parts)


def _estimate(
    found: _Influences,
    pictures: Sequence[PictureRecord],
    witnesses: Witnesses,
    *,
    by_prompt: bool,
) -> Estimate:
    groups = [witnesses.prompt(picture["id"]) for picture in pictures]
    judged = {prompt for prompt, part in zip(groups, found.parts, strict=True) if part}
    if not by_prompt or len(judged) < 2:
        groups = [witnesses.picture(picture["id"], picture["seed"]) for picture in pictures]
    return Estimate(found.score, *certainty(found.errors, found.parts, groups))


def _weights(scale: Scale) -> dict[str, float]:
    """Return each scorer's weight, of all objectives together."""
    weights: dict[str, float] = defaultdict(float)
    for one in scale.sums:
        for label, weight in one.weights.items():
            weights[label] += weight
    return {label: weight for label, weight in weights.items() if weight}
