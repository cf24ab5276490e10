"""clamp: a model limited to the range of others."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from bmerge import Alike, MergeMethod, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import Share, lerp, total


@merge_method
def clamp(a: Alike, *bounds: Alike, stiffness: Share = 0.0) -> Alike:
    """Limit each weight of a to the range that the other models span.

    Formula: min(max(a, low), high), with low and high the least and greatest of bounds, moved by
        stiffness towards the bound that is nearest to their mean on the same side

    After a difference merge it takes back weights that no model has ever had.

    Args:
        a: model that is limited.
        bounds: models that say how far; a itself if there are none.
        stiffness: 0 takes the whole range, 1 the narrowest around the mean.

    Source: clamp of sd-mecha; weights_clip of sd-meh is clamp by the models that were merged.
    """
    if not bounds:
        return a
    high = functools.reduce(ops.maximum, bounds)
    low = functools.reduce(ops.minimum, bounds)
    mean = total(bounds) / len(bounds)
    near_high, near_low = high, low
    for bound in bounds:
        near_high = ops.where((near_high >= bound) & (bound >= mean), bound, near_high)
        near_low = ops.where((near_low <= bound) & (bound <= mean), bound, near_low)
    return ops.clip(a, lerp(low, near_low, stiffness), lerp(high, near_high, stiffness))


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [clamp]
