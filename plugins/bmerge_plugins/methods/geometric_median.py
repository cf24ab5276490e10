"""geometric_median: the point with the least sum of distances to all models."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, PerModel, Weight, hookimpl, merge_method
from bmerge_plugins.methods._span import median


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
    return median(models, weight)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [geometric_median]
