"""arcee_fusion: those changes of a model that matter most."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import MergeMethod, hookimpl, merge_method, ops

LITTLE = 1e-8


@merge_method
def arcee_fusion(base: ops.Tensor, a: ops.Tensor) -> ops.Tensor:
    """Take over those weights of a whose change is important.

    Formula: a where its importance is at least median + 1.5 * (third - first quartile), else
        base; importance is |a - base| times the Kullback-Leibler divergence of softmax(base)
        from softmax(a), each plus 1e-8, over each vector of the last dimension

    Leaves most of the base alone and takes the strongest changes whole.

    Args:
        base: model that most comes from.
        a: model whose changes are taken.

    Source: arcee_fusion of mergekit, which estimates the quartiles of tensors with more than a
    million elements from a random sample.
    """
    p, q = _softmax(a) + LITTLE, _softmax(base) + LITTLE
    divergence = ops.maximum(ops.sum(p * ops.log(p / q), axis=-1), 0.0)
    importance = ops.abs(a - base) * divergence
    first, median, third = (_quantile(importance, q) for q in (0.25, 0.5, 0.75))
    return ops.where(importance >= median + 1.5 * (third - first), a, base)


def _softmax(x: ops.Tensor) -> ops.Tensor:
    power = ops.exp(x - ops.max(x, axis=-1))
    return power / ops.sum(power, axis=-1)


def _quantile(x: ops.Tensor, fraction: float) -> ops.Tensor:
    """Return a quantile of values of 0 and more: the next lower one."""
    return ops.kth_abs(x, ops.trunc(fraction * (ops.numel(x) - 1)) + 1)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [arcee_fusion]
