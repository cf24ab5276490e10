"""From scores to a proposal: fit, let what is in flight count, look for the maximum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bmerge_plugins.gaussian.acquisition import Acquisition, expected_improvement, values
from bmerge_plugins.gaussian.bounds import Box
from bmerge_plugins.gaussian.evidence import Told, evidence_of
from bmerge_plugins.gaussian.fit import fit
from bmerge_plugins.gaussian.kernel import Array
from bmerge_plugins.gaussian.maximum import argmax
from bmerge_plugins.gaussian.process import Process

__all__ = ["Promising", "proposal"]


@dataclass(frozen=True, slots=True)
class Promising:
    """A point that is proposed.

    Args:
        point: of the unit cube.
        gain: by how much it is expected to exceed the best score that is expected at a known
            point, in the scores' own units.
    """

    point: Array
    gain: float


def proposal(
    told: Told,
    flying: Array,
    acquisition: Callable[[float], Acquisition],
    rng: np.random.Generator,
    *,
    alike: bool,
    noise: float | None = None,
    box: Box | None = None,
    snap: Callable[[Array], Array] | None = None,
) -> Promising:
    """Return the point of the unit cube that promises most.

    Args:
        told: the trials; at least one.
        flying: points that are evaluated now. Each counts as if it had the score that is expected
            there, so that nothing new is to be learned beside it.
        acquisition: the greatest score that is expected at a known point → what is promised.
        rng: draws the candidates.
        alike: whether all dimensions have the same length scale.
        noise: variance of the scores' errors beside the one that is given, as a part of the
            scores' variance; None finds it out.
        box: bounds of the proposal; None is the whole cube.
        snap: rows of the cube → the rows that stand for the same; None where each is its own.
    """
    evidence, scale = evidence_of(told)
    process = fit(evidence, alike=alike, noise=noise)
    if len(flying):
        expected, _ = process.expect(flying)
        process = Process(evidence.joined(flying, expected), process.shape)
    best = float(process.expect(process.points)[0].max())
    point = argmax(process, acquisition(best), rng, box, snap)
    gain = values(expected_improvement(best), process, point[None])  # its logarithm
    return Promising(point, scale.deviation * math.exp(float(gain[0])))
