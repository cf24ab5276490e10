"""A quadratic surface through the points of a study, with what is not known about it.

Bayesian linear regression on linear, square and product terms of the parameters. How large each
of the three kinds is, and the noise, follows from the points themselves (the greatest evidence), so
with few points there are no products. From it come the curve of each parameter, the pairs that
interact, and where each value of the best merge may as well be.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bmerge.records import dataclass

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Curve", "Pair", "Surface", "fit_surface"]

_PAIRED = 30  # parameters whose products are looked at
_GRID = 11  # points of a curve
_DRAWS = 400  # of the surface, for the uncertainty of values
_CLEAR = 2.5  # standard deviations from 0 at which a product counts


@dataclass(frozen=True, slots=True)
class Curve:
    """What one parameter does, all others averaged out.

    Args:
        name: of the parameter.
        values: along its range.
        effects: of each, in units of the score, against the mean.
        errors: standard deviation of each.
        likely: where the best value lies with 80 % probability, the others as in the best merge.
    """

    name: str
    values: tuple[float, ...]
    effects: tuple[float, ...]
    errors: tuple[float, ...]
    likely: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two parameters of which one changes what the other does.

    Args:
        names: of both.
        effect: change of the score where both are at equal ends, against opposite ends, halved;
            above 0 they do well together.
        error: its standard deviation.
    """

    names: tuple[str, str]
    effect: float
    error: float


@dataclass(frozen=True, slots=True)
class Surface:
    """What the points say: a curve for each parameter, and the pairs that clearly interact."""

    curves: tuple[Curve, ...]
    pairs: tuple[Pair, ...]


def fit_surface(
    rows: Sequence[Mapping[str, float]],
    scores: Sequence[float],
    best: Mapping[str, float],
    bounds: Mapping[str, tuple[float, float]],
) -> Surface:
    """Fit a surface to points and read it.

    Args:
        rows: parameter → value of each point.
        scores: of the points.
        best: the point whose values are judged.
        bounds: parameter → least and greatest value; the most important first, as only the first
            30 are looked at in pairs.
    """
    import numpy as np

    names = list(bounds)
    ends = np.array([bounds[name] for name in names])

    def scaled(row: Mapping[str, float]) -> Floats:
        values = np.array([row[name] for name in names])
        return np.asarray(np.clip(2 * (values - ends[:, 0]) / (ends[:, 1] - ends[:, 0]) - 1, -1, 1))

    points = np.array([scaled(row) for row in rows])
    pairs = list(itertools.combinations(range(min(len(names), _PAIRED)), 2))
    target = np.array(scores)
    unit = float(target.std()) or 1.0
    mean, cov = _posterior(_terms(points, pairs), (target - target.mean()) / unit, len(names))
    likely = _likely(mean, cov, scaled(best), pairs)
    curves = [
        _curve(name, index, bounds[name], (mean * unit, cov * unit**2), likely[index], len(names))
        for index, name in enumerate(names)
    ]
    return Surface(tuple(curves), tuple(_pairs(names, pairs, mean * unit, cov * unit**2)))


def _terms(points: Floats, pairs: Sequence[tuple[int, int]]) -> Floats:
    """Return the terms of points: linear, square, products."""
    import numpy as np

    products = [points[:, i] * points[:, j] for i, j in pairs]
    columns = [points, points**2 - 1 / 3]
    return np.hstack([*columns, np.array(products).T.reshape(len(points), len(pairs))])


def _posterior(terms: Floats, target: Floats, dimensions: int) -> tuple[Floats, Floats]:
    """Return mean and covariance of the terms' weights, at the greatest evidence."""
    import numpy as np
    from scipy.linalg import cho_factor, cho_solve  # type: ignore[import-untyped]
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    kinds = np.repeat([0, 1, 2], [dimensions, dimensions, terms.shape[1] - 2 * dimensions])
    grams = [terms[:, kinds == kind] @ terms[:, kinds == kind].T for kind in range(3)]
    eye = np.eye(len(target))

    def factor(logs: Floats) -> Any:
        sizes = np.exp(logs)
        return cho_factor(
            sum((s * g for s, g in zip(sizes[:3], grams, strict=True)), (sizes[3] + 1e-8) * eye)
        )

    def cost(logs: Floats) -> tuple[float, Floats]:
        """Return the negative logarithm of the evidence, and its slopes."""
        low = factor(logs)
        solved, inverse = cho_solve(low, target), cho_solve(low, eye)
        spread = 2 * np.log(np.diag(low[0])).sum()
        pulls = [np.vdot(inverse, gram) - solved @ gram @ solved for gram in (*grams, eye)]
        value = float(0.5 * target @ solved + 0.5 * spread + 0.01 * logs @ logs)
        return value, 0.5 * np.exp(logs) * np.array(pulls) + 0.02 * logs

    start = np.array([-2.0, -3.0, -6.0, -1.0])
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=[(-14, 4)] * 4)
    prior = np.exp(found.x[:3])[kinds]
    low = factor(found.x)
    spread = prior[:, None] * terms.T
    mean = spread @ cho_solve(low, target)
    cov = np.diag(prior) - spread @ cho_solve(low, spread.T)
    return mean, cov


def _curve(
    name: str,
    index: int,
    bounds: tuple[float, float],
    weights: tuple[Floats, Floats],
    likely: tuple[float, float],
    dimensions: int,
) -> Curve:
    import numpy as np

    mean, cov = weights
    grid = np.linspace(-1, 1, _GRID)
    own = [index, dimensions + index]
    terms = np.stack([grid, grid**2 - 1 / 3], axis=1)
    errors = np.sqrt(np.maximum(0, np.einsum("ni,ij,nj->n", terms, cov[np.ix_(own, own)], terms)))

    def value(place: float) -> float:
        return float(bounds[0] + (place + 1) / 2 * (bounds[1] - bounds[0]))

    return Curve(
        name,
        tuple(value(place) for place in grid),
        tuple((terms @ mean[own]).tolist()),
        tuple(errors.tolist()),
        (value(likely[0]), value(likely[1])),
    )


def _pairs(
    names: Sequence[str], pairs: Sequence[tuple[int, int]], mean: Floats, cov: Floats
) -> list[Pair]:
    """Return the pairs whose products are clearly there, the greatest first."""
    first = 2 * len(names)
    found = []
    for place, (i, j) in enumerate(pairs, start=first):
        error = math.sqrt(max(0.0, float(cov[place, place])))
        if abs(mean[place]) > _CLEAR * error:
            found.append(Pair((names[i], names[j]), float(mean[place]), error))
    return sorted(found, key=lambda pair: -abs(pair.effect))


def _likely(
    mean: Floats, cov: Floats, best: Floats, pairs: Sequence[tuple[int, int]]
) -> list[tuple[float, float]]:
    """Return for each parameter where its best value lies, by surfaces that may be the true one."""
    import numpy as np

    count = len(best)
    values, vectors = np.linalg.eigh(cov)
    noise = np.random.default_rng(0).normal(size=(_DRAWS, len(mean)))
    draws = mean + (noise * np.sqrt(np.maximum(0, values))) @ vectors.T
    slope, bend = draws[:, :count].copy(), draws[:, count : 2 * count]
    for place, (i, j) in enumerate(pairs, start=2 * count):
        slope[:, i] += draws[:, place] * best[j]
        slope[:, j] += draws[:, place] * best[i]
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = np.clip(-slope / (2 * bend), -1, 1)
    tops = np.where(bend < 0, inside, np.sign(slope))
    low, high = np.quantile(tops, [0.1, 0.9], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))
