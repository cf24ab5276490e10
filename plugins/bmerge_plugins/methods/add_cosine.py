"""add_cosine_a, add_cosine_b: weighted sums that keep what two models have in common."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import MergeMethod, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import cosine, lerp


@merge_method
def add_cosine_a(a: ops.Tensor, b: ops.Tensor, *, alpha: Weight = 1.0) -> ops.Tensor:
    """Mix two models, column by column: the less alike, the more of b.

    Formula: (1 - k) * a + k * b, with k = 1 - clip(cos - alpha, 0, 1) and cos the cosine between
        the columns of a and b (over dim 0)

    Args:
        a: first model.
        b: second model.
        alpha: 1 is b; at 0 columns that are parallel come from a.

    Source: add_cosine_a of sd-mecha, after "cosineA" of supermerger, which scales the cosines to
    those of the whole model.
    """
    return _mixed(a, b, cosine(a, b, axis=0), alpha)


@merge_method
def add_cosine_b(a: ops.Tensor, b: ops.Tensor, *, alpha: Weight = 1.0) -> ops.Tensor:
    """Mix two models, column by column and as wholes: the less alike, the more of b.

    Formula: as add_cosine_a, with the mean of that cosine and of the one between the whole
        tensors

    Args:
        a: first model.
        b: second model.
        alpha: 1 is b; at 0 what is parallel comes from a.

    Source: add_cosine_b of sd-mecha, after "cosineB" of supermerger, which scales the cosines to
    those of the whole model.
    """
    return _mixed(a, b, (cosine(a, b, axis=0) + cosine(a, b)) / 2, alpha)


def _mixed(a: ops.Tensor, b: ops.Tensor, alike: ops.Tensor, alpha: ops.Tensor) -> ops.Tensor:
    return lerp(a, b, 1 - ops.clip(alike - alpha, 0.0, 1.0))


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer both methods."""
    return [add_cosine_a, add_cosine_b]
