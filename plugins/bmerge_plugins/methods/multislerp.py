"""multislerp, multislerp_from_base: any number of models, mixed on a sphere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bmerge import Alike, MergeMethod, PerModel, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import quotient, total
from bmerge_plugins.methods._task_vectors import divisor


@merge_method
def multislerp(*models: Alike, weight: PerModel[Weight] = 1.0, normalize: bool = True) -> Alike:
    """Mix the directions of any number of models, and their lengths apart.

    Formula: m / ||m|| * sum of weight_i * ||model_i||, with m = sum of weight_i * model_i /
        ||model_i||, over the whole tensor; the weighted sum where m is 0

    As slerp, the result is not shorter than the models. (mergekit moves the mean direction once
    more, in the tangent space at that mean, where the weighted sum is always 0.)

    Args:
        models: what is mixed.
        weight: one for each model.
        normalize: divide the weights by their sum first.

    Source: multislerp of mergekit without a base model.
    """
    return _on_sphere(models, weight, normalize=normalize)


@merge_method
def multislerp_from_base(
    base: Alike,
    *models: Alike,
    weight: PerModel[Weight] = 1.0,
    normalize: bool = True,
) -> Alike:
    """Mix what any number of models have learned on a sphere around their base.

    Formula: base + multislerp of all model_i - base

    The mean of many fine-tunes' changes is weak; this one has their mean length.

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        weight: one for each model.
        normalize: divide the weights by their sum first.

    Source: multislerp of mergekit with a base model.
    """
    if not models:
        return base
    deltas = [model - base for model in models]
    return base + _on_sphere(deltas, weight, normalize=normalize)


def _on_sphere(
    points: Sequence[ops.Tensor], weight: Sequence[ops.Tensor], *, normalize: bool
) -> ops.Tensor:
    scale = 1 / divisor(total(weight)) if normalize else 1.0
    shares = [w * scale for w in weight]
    lengths = [ops.vector_norm(point) for point in points]
    mean = total(
        share * quotient(1.0, length) * point
        for share, length, point in zip(shares, lengths, points, strict=True)
    )
    straight = total(share * point for share, point in zip(shares, points, strict=True))
    length = total(share * length for share, length in zip(shares, lengths, strict=True))
    size = ops.vector_norm(mean)
    # Of directions that cancel out, float32 leaves some rounding.
    return ops.where(size < 1e-6, straight, mean * quotient(length, size))


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer both methods."""
    return [multislerp, multislerp_from_base]
