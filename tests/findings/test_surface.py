"""Curves, pairs and uncertainties of landscapes that are known."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge.findings.surface import fit_surface

BOUNDS = {f"alpha.B{i}": (0.0, 1.0) for i in range(8)} | {"beta": (2.0, 4.0)}
TOPS = np.array([0.3, 0.7, 0.5, 0.9])


def landscape(points):
    """Four parameters matter, the first two also together; the best of those is known."""
    square = -2 * ((points[:, :4] - TOPS) ** 2).sum(axis=1)
    return square + 1.5 * (points[:, 0] - 0.3) * (points[:, 1] - 0.7)


def points_of(count, noise, seed):
    dice = np.random.default_rng(seed)
    unit = dice.random((count, len(BOUNDS)))
    scores = landscape(unit) + noise * dice.normal(size=count)
    ends = np.array(list(BOUNDS.values()))
    values = ends[:, 0] + unit * (ends[:, 1] - ends[:, 0])
    return [dict(zip(BOUNDS, row, strict=True)) for row in values], scores.tolist()


BEST = dict(zip(BOUNDS, [*TOPS, 0.5, 0.5, 0.5, 0.5, 3.0], strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_a_known_landscape_is_read(seed):
    rows, scores = points_of(100, 0.05, seed)
    found = fit_surface(rows, scores, BEST, BOUNDS)
    curves = {curve.name: curve for curve in found.curves}
    for name, top in zip(list(BOUNDS)[:4], TOPS, strict=True):
        low, high = curves[name].likely
        assert low - 0.05 <= top <= high + 0.05
        assert high - low < 0.3
        best = curves[name].values[int(np.argmax(curves[name].effects))]
        assert best == pytest.approx(top, abs=0.25)
    low, high = curves["beta"].likely
    assert high - low > 0.7, "nothing is known of a value that does not matter"
    assert max(map(abs, curves["beta"].effects)) < 0.1
    assert found.pairs[0].names == ("alpha.B0", "alpha.B1")
    assert found.pairs[0].effect == pytest.approx(1.5 / 4, abs=4 * found.pairs[0].error)
    assert len(found.pairs) <= 2


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_no_surface(seed):
    rows, _ = points_of(60, 0.0, seed)
    scores = np.random.default_rng(seed + 50).normal(size=60).tolist()
    found = fit_surface(rows, scores, BEST, BOUNDS)
    assert not found.pairs
    for curve in found.curves:
        low, high = curve.likely
        span = BOUNDS[curve.name][1] - BOUNDS[curve.name][0]
        assert high - low > 0.5 * span
