"""ram, ramplus_tl: changes of one model whole, changes of several as their mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, TypeAlias

from bmerge import Alike, MergeMethod, Range, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import quotient, total

Threshold: TypeAlias = Annotated[float, Range(0, 0.001, minimum=0)]


@merge_method
def ram(base: Alike, *models: Alike, epsilon: Threshold = 1e-5) -> Alike:
    """Add changes that one model alone has made, and the mean of those that several have.

    Formula: base + sum of those model_i - base whose absolute value is above epsilon, divided by
        how many there are

    A mean weakens what only one model has learned; here it keeps its strength.

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        epsilon: least change that counts.

    Source: Reinforced agent merging (2026, arXiv:2601.13572); ram of mergekit.
    """
    return _merged(base, models, epsilon, lambda _: 1.0)


@merge_method
def ramplus_tl(
    base: Alike,
    *models: Alike,
    r: Weight = 0.1,
    alpha: Weight = 0.2,
    epsilon: Threshold = 1e-5,
) -> Alike:
    """Add changes as ram does, and magnify those of one model by how much it shares.

    Formula: as ram, with the changes that only model_i has times 1 + r * clip(s / u, 0, alpha),
        where s and u are how many of its changes in this tensor others have too, and have not

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        r: strength of the magnification.
        alpha: greatest ratio that counts.
        epsilon: least change that counts.

    Source: Reinforced agent merging (2026, arXiv:2601.13572); ramplus_tl of mergekit.
    """

    def factor(counts: tuple[ops.Tensor, ops.Tensor]) -> ops.Tensor:
        shared, unique = counts
        return 1 + r * ops.clip(shared / ops.maximum(unique, epsilon), 0.0, alpha)

    return _merged(base, models, epsilon, factor)


def _merged(
    base: ops.Tensor, models: Sequence[ops.Tensor], epsilon: ops.Tensor, factor: ops.Tensor
) -> ops.Tensor:
    if not models:
        return base
    deltas = [model - base for model in models]
    moved = [ops.abs(delta) > epsilon for delta in deltas]
    count = total(ops.where(m, 1.0, 0.0) for m in moved)
    parts = []
    for delta, here in zip(deltas, moved, strict=True):
        sizes = (ops.sum(here & (count > 1)), ops.sum(here & (count == 1)))
        parts.append(
            ops.where(here, ops.where(count > 1, quotient(delta, count), delta * factor(sizes)), 0)
        )
    return base + total(parts)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer both methods."""
    return [ram, ramplus_tl]
