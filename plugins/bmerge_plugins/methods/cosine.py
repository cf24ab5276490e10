"""cosine_a, cosine_b: weighted sums by likeness, on the scale of the whole model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias

from bmerge import MergeMethod, Statistic, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import cosine, lerp, quotient

_AUTOENCODER = ("first_stage_model.*",)
_CUT = 0.01
"""The share of all values that is left out on each side."""


def _alike(a: ops.Tensor, b: ops.Tensor) -> ops.Tensor:
    """Return the cosine between the columns of two models."""
    return cosine(a, b, axis=0)


def _both_alike(a: ops.Tensor, b: ops.Tensor) -> ops.Tensor:
    """Return the mean of that and of the cosine between the whole tensors."""
    return (cosine(a, b, axis=0) + cosine(a, b)) / 2


def _least(values: ops.Tensor) -> ops.Tensor:
    """Return the least value when the lowest are left out; NaN is not a value."""
    return ops.kth_abs(values + 1, _left_out(values) + 1) - 1  # cosines are -1 or more


def _greatest(values: ops.Tensor) -> ops.Tensor:
    """Return the greatest value when the highest of the others are left out, too."""
    low = _left_out(values)
    rank = low + ops.floor((1 - _CUT) * (_count(values) - low - 1) + 1e-6)
    return ops.kth_abs(values + 1, rank + 1) - 1


def _left_out(values: ops.Tensor) -> ops.Tensor:
    """Return how many of the lowest are left out."""
    return ops.ceil(_CUT * (_count(values) - 1) - 1e-6)


def _count(values: ops.Tensor) -> ops.Tensor:
    return ops.sum(ops.where(ops.isnan(values), 0.0, 1.0))


LeastA: TypeAlias = Annotated[float, Statistic(_alike, _least, _AUTOENCODER)]
GreatestA: TypeAlias = Annotated[float, Statistic(_alike, _greatest, _AUTOENCODER)]
LeastB: TypeAlias = Annotated[float, Statistic(_both_alike, _least, _AUTOENCODER)]
GreatestB: TypeAlias = Annotated[float, Statistic(_both_alike, _greatest, _AUTOENCODER)]


@merge_method(aliases=("cosineA", "cosine0"))
def cosine_a(
    a: ops.Tensor,
    b: ops.Tensor,
    *,
    alpha: Weight = 0.5,
    least: LeastA,
    greatest: GreatestA,
) -> ops.Tensor:
    """Mix two models, column by column: what is most alike in the whole model stays a's.

    Formula: (1 - k) * b + k * a, with k = clip((c - least) / (greatest - least) - abs(alpha), 0,
        1) and c the mean of the cosine between the columns of a and b (over dim 0) and of the one
        between a and b when all columns have length 1

    What makes a model's structure is alike in both; b's style comes in where they differ. The two
    limits are taken in a pass over all tensors before the merge. At alpha = 0 it is not a.

    Args:
        a: model that is kept where both are alike.
        b: model that is added where they differ.
        alpha: 1 is b.
        least: the least cosine of the whole model, without the lowest hundredth; the autoencoder
            does not count.
        greatest: the greatest, without the highest hundredth.

    Source: "cosineA" of supermerger, which leaves the autoencoder as it is: exclude it for that;
    cosine0 of Chattiori's merger. add_cosine_a of sd-mecha has no limits of the whole model.
    """
    columns = _alike(a, b)
    filled = ops.mean(ops.where(ops.vector_norm(a, axis=0) > 0, 1.0, 0.0))
    filled *= ops.mean(ops.where(ops.vector_norm(b, axis=0) > 0, 1.0, 0.0))
    whole = ops.clip(quotient(ops.mean(columns), ops.sqrt(filled)), -1.0, 1.0)
    return _mixed(a, b, (columns + whole) / 2, ops.abs(alpha), least, greatest)


@merge_method(aliases=("cosineB", "cosine1"))
def cosine_b(
    a: ops.Tensor,
    b: ops.Tensor,
    *,
    alpha: Weight = 0.5,
    least: LeastB,
    greatest: GreatestB,
) -> ops.Tensor:
    """Mix two models, column by column and as wholes: what is most alike stays a's.

    Formula: (1 - k) * b + k * a, with k = clip((c - least) / (greatest - least) - alpha, 0, 1)
        and c the mean of the cosine between the columns of a and b (over dim 0) and of the one
        between the whole tensors

    As cosine_a, with the lengths of the columns counted.

    Args:
        a: model that is kept where both are alike.
        b: model that is added where they differ.
        alpha: 1 is b.
        least: the least c of the whole model, without the lowest hundredth; the autoencoder does
            not count.
        greatest: the greatest, without the highest hundredth.

    Source: "cosineB" of supermerger, which leaves the autoencoder as it is: exclude it for that;
    cosine1 of Chattiori's merger. add_cosine_b of sd-mecha has no limits of the whole model.
    """
    return _mixed(a, b, _both_alike(a, b), alpha, least, greatest)


def _mixed(
    a: ops.Tensor,
    b: ops.Tensor,
    alike: ops.Tensor,
    alpha: ops.Tensor,
    least: ops.Tensor,
    greatest: ops.Tensor,
) -> ops.Tensor:
    share = quotient(alike - least, greatest - least) - alpha
    return lerp(b, a, ops.clip(share, 0.0, 1.0))


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer both methods."""
    return [cosine_a, cosine_b]
