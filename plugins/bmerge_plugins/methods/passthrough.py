"""passthrough: one model, scaled."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from bmerge import Alike, MergeMethod, Range, hookimpl, merge_method


@merge_method(aliases=("scale", "self"))
def passthrough(a: Alike, *, scale: Annotated[float, Range(0, 2)] = 1.0) -> Alike:
    """Take one model's weights, multiplied by a number.

    Formula: scale * a

    Copies a model into another dtype, or makes some blocks stronger or weaker.

    Args:
        a: the model.
        scale: factor; 1 leaves the weights as they are.

    Source: passthrough of mergekit, scale of sd-mecha, "self" of supermerger (which leaves out
    keys with to_out, proj_out or norm in their name; see docs/other-tools.md).
    """
    return scale * a


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [passthrough]
