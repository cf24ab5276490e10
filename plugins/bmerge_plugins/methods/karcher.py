"""karcher: the mean of any number of models on a sphere."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, PerModel, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import quotient, total
from bmerge_plugins.methods._span import Coefficients, Matrix, combine, dots, length

ITERATIONS = 10
TOLERANCE = 1e-5


@merge_method
def karcher(*models: Alike, weight: PerModel[Weight] = 1.0) -> Alike:
    """Mix any number of models by the mean of their directions on a sphere.

    Formula: u * sum of w_i * ||model_i||, with u the point on the unit sphere that has the least
        sum of w_i * (angle to model_i)^2, found by 10 steps from the normalised mean; w_i is
        weight_i divided by their sum; norms and angles are over the whole tensor

    slerp for any number of models. For fine-tunes of one base, which are nearly parallel, it is
    all but the mean.

    Args:
        models: what is mixed.
        weight: one for each model.

    Source: Karcher, Riemannian center of mass, 1977; karcher of mergekit, whose weights are
    equal.
    """
    lengths = [ops.vector_norm(model) for model in models]
    inverse = [ops.where(norm > TOLERANCE, quotient(1.0, norm), 0.0) for norm in lengths]
    shares = _shares(weight)
    present = _shares([ops.where(i > 0, s, 0.0) for i, s in zip(inverse, shares, strict=True)])
    cosines = [
        [ops.vecdot(x, y) * i * j for y, j in zip(models, inverse, strict=True)]
        for x, i in zip(models, inverse, strict=True)
    ]
    point = _normalised(_start(cosines, present), cosines)
    for _ in range(ITERATIONS):
        point = _step(point, present, cosines)
    size = total(s * norm for s, norm in zip(shares, lengths, strict=True))
    return combine([size * p * i for p, i in zip(point, inverse, strict=True)], models)


def _shares(weight: Coefficients) -> list[ops.Tensor]:
    whole = total(weight)
    return [quotient(w, whole) for w in weight]


def _start(cosines: Matrix, shares: Coefficients) -> Coefficients:
    """Return the mean, or the first model where the mean is 0."""
    first: list[ops.Tensor] = []
    free: ops.Tensor = 1.0
    for index in range(len(shares)):
        first.append(ops.where(cosines[index][index] > 0, free, 0.0))
        free = free - first[-1]
    none = length(cosines, shares) < TOLERANCE
    return [ops.where(none, f, s) for f, s in zip(first, shares, strict=True)]


def _normalised(point: Coefficients, cosines: Matrix) -> list[ops.Tensor]:
    size = length(cosines, point)
    return [ops.where(size > TOLERANCE, quotient(p, size), p) for p in point]


def _step(point: Coefficients, shares: Coefficients, cosines: Matrix) -> list[ops.Tensor]:
    """Go along the mean of the directions to all models."""
    towards = [ops.clip(dot, -1.0, 1.0) for dot in dots(cosines, point)]
    factors = []
    for share, dot in zip(shares, towards, strict=True):
        angle = ops.acos(dot)
        sine = ops.sin(angle)  # where it is 0 there is no direction, or every one
        factors.append(ops.where(sine < TOLERANCE, 0.0, share * quotient(angle, sine)))
    along = total(f * dot for f, dot in zip(factors, towards, strict=True))
    direction = [f - along * p for f, p in zip(factors, point, strict=True)]
    size = length(cosines, direction)
    cosine, scale = ops.cos(size), quotient(ops.sin(size), size)
    moved = _normalised(
        [cosine * p + scale * d for p, d in zip(point, direction, strict=True)], cosines
    )
    return [ops.where(size < TOLERANCE, p, m) for p, m in zip(point, moved, strict=True)]


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [karcher]
