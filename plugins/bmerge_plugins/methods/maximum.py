"""maximum: the greatest of each weight."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from bmerge import MergeMethod, hookimpl, merge_method, ops


@merge_method(aliases=("MAX",))
def maximum(a: ops.Tensor, *models: ops.Tensor) -> ops.Tensor:
    """Take the greatest of each weight among all models.

    Formula: max(a, b, …)

    Shifts all weights upwards; a curiosity rather than a tool, and what one of the old mergers
    offers.

    Args:
        a: first model.
        models: the others.

    Source: MAX of Chattiori's merger.
    """
    return functools.reduce(ops.maximum, models, a)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [maximum]
