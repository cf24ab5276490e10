"""From a process to a proposal: let what is in flight count, look for the maximum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bmerge_plugins.gaussian.acquisition import Acquisition, expected_improvement, values
from bmerge_plugins.gaussian.bounds import Box
from bmerge_plugins.gaussian.evidence import Standardisation
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
    process: Process,
    scale: Standardisation,
    flying: Array,
    acquisition: Callable[[float], Acquisition],
    rng: np.random.Generator,
    *,
    box: Box | None = None,
    snap: Callable[[Array], Array] | None = None,
) -> Promising:
    """Return the point of the unit cube that promises most.

    Args:
        process: what is known.
        scale: of its scores.
        flying: points that are evaluated now. Each counts as if it had the score that is expected
            there, so that nothing new is to be learned beside it.
        acquisition: the greatest score that is expected at a known point → what is promised.
        rng: draws the candidates.
        box: bounds of the proposal; None is the whole cube.
        snap: rows of the cube → the rows that stand for the same; None where each is its own.
    """
    if len(flying):
        process = process.joined(flying)
    best = float(process.expect(process.points)[0].max())
    point = argmax(process, acquisition(best), rng, box, snap)
    gain = values(expected_improvement(best), process, point[None])  # its logarithm
    return Promising(point, scale.deviation * math.exp(float(gain[0])))
