"""sce: select, calculate, erase: task vectors weighted by their own size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bmerge import Alike, MergeMethod, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import quotient, total
from bmerge_plugins.methods._task_vectors import Density, agreement


@merge_method
def sce(base: Alike, *models: Alike, select_topk: Density = 1.0) -> Alike:
    """Merge what models have learned, weighted by how much each has changed a tensor.

    Formula: of all model_i - base keep the elements whose variance among the models is in the
        fraction select_topk of the greatest that are not 0; weight_i is the mean of the squares
        of what is left of model_i - base, as a share of their sum; elect the sign of the sum;
        base + the mean of what has that sign, weighted by weight_i

    The model that has changed a tensor most decides about it. Needs little tuning.

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        select_topk: fraction of the elements that is kept.

    Source: FuseChat 3 (Wan et al., 2024, arXiv:2408.07990); sce of mergekit, which takes equal
    weights where the sum of the mean squares is below 1e-6.
    """
    if not models:
        return base
    deltas = _selected([model - base for model in models], select_topk)
    sizes = [ops.mean(delta**2) for delta in deltas]
    whole = total(sizes)
    parts = zip(agreement(deltas, "sum"), sizes, strict=True)
    weight = [ops.where(agree, quotient(size, whole, 1 / len(sizes)), 0.0) for agree, size in parts]
    merged = total(w * delta for w, delta in zip(weight, deltas, strict=True))
    return base + quotient(merged, total(weight))


def _selected(deltas: Sequence[ops.Tensor], fraction: ops.Tensor) -> list[ops.Tensor]:
    mean = total(deltas) / len(deltas)
    variance = total((delta - mean) ** 2 for delta in deltas) / len(deltas)
    keep = ops.trunc(fraction * ops.sum(variance != 0))
    least = ops.kth_abs(variance, ops.numel(variance) - keep + 1)
    kept = ((variance >= least) & (keep >= 1)) | (fraction >= 1)
    return [ops.where(kept, delta, 0.0) for delta in deltas]


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [sce]
