"""geometric_median: the point with the least sum of distances to all models."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, PerModel, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import quotient, total
from bmerge_plugins.methods._span import Coefficients, Matrix, combine, dots

ITERATIONS = 40
LEAST_DISTANCE = 1e-6


@merge_method
def geometric_median(*models: Alike, weight: PerModel[Weight] = 1.0) -> Alike:
    """Find the model that is nearest to all models together.

    Formula: the x with the least sum of weight_i * ||model_i - x||, over the whole tensor, by 40
        steps of Weiszfeld's algorithm from the mean: x = sum of v_i * model_i / sum of v_i, with
        v_i = weight_i / max(||model_i - x||, 1e-6)

    A mean that one bad model among many cannot spoil.

    Args:
        models: what is mixed; three or more, for two it is their mean.
        weight: one for each model.

    Source: Weiszfeld, 1937; geometric_median of sd-mecha (without weights, up to 100 steps).
    """
    squared = [[ops.vecdot(x - y, x - y) for y in models] for x in models]
    point = _shares(weight)
    for _ in range(ITERATIONS):
        distances = _distances(squared, point)
        point = _shares([w / d for w, d in zip(weight, distances, strict=True)])
    return combine(point, models)


def _shares(weight: Coefficients) -> list[ops.Tensor]:
    whole = total(weight)
    return [quotient(w, whole, 1 / len(weight)) for w in weight]


def _distances(squared: Matrix, point: Coefficients) -> list[ops.Tensor]:
    """Return the distance to each model of the point with these coefficients, whose sum is 1."""
    products = dots(squared, point)
    spread = total(p * d for p, d in zip(point, products, strict=True)) / 2
    least = LEAST_DISTANCE**2
    return [ops.sqrt(ops.maximum(product - spread, least)) for product in products]


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [geometric_median]
