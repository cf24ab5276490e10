"""extract: what two models have in common, or what only one of them has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from bmerge import MergeMethod, Range, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import Share, cosine, lerp


@merge_method
def extract(
    a: ops.Tensor,
    b: ops.Tensor,
    c: ops.Tensor,
    *,
    alpha: Share = 0.5,
    beta: Share = 0.5,
    gamma: Annotated[float, Range(0, 10, minimum=0)] = 1.0,
) -> ops.Tensor:
    """Add to a base what two models changed alike, or what they changed differently.

    Formula: a + lerp(x, y, alpha) * lerp(d, 1 - d, beta), with x = b - a, y = c - a,
        d = ((cos + 1) / 2)^gamma and cos the cosine between x and y over each vector of the last
        dimension

    beta = 0 keeps what b and c have in common, beta = 1 what differs.

    Args:
        a: base of both.
        b: first fine-tune of a.
        c: second fine-tune of a.
        alpha: c's share of the change.
        beta: 0 for the alike, 1 for the different.
        gamma: how strict; the greater, the more alike must be what counts as alike.

    Source: "extract" of supermerger.
    """
    x, y = b - a, c - a
    alike = ((cosine(x, y, axis=-1) + 1) / 2) ** gamma
    return a + lerp(x, y, alpha) * lerp(alike, 1 - alike, beta)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [extract]
