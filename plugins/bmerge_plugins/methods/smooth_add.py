"""smooth_add: a difference without its outliers and its finest detail."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import MergeMethod, Weight, hookimpl, ops, tensor_method


@tensor_method(aliases=("smoothAdd", "sAD"), needs=("scipy",))
def smooth_add(a: ops.Tensor, b: ops.Tensor, c: ops.Tensor, *, alpha: Weight = 1.0) -> ops.Tensor:
    """Add what b has learned beyond c, smoothed.

    Formula: a + alpha * gauss(median(b - c)), both filters over every dimension: the median of
        3 values in each direction, then a Gaussian with standard deviation 1

    For differences that add_difference makes a mess of. Slow: every element of the result needs
    up to 81 of the difference.

    Args:
        a: model that is added to.
        b: model that was trained from c.
        c: base of b.
        alpha: how much of the difference.

    Source: "smoothAdd" of supermerger, sAD of Chattiori's merger.
    """
    import torch
    from scipy import ndimage  # type: ignore[import-untyped]

    difference = (b - c).cpu().numpy()
    smooth = ndimage.gaussian_filter(ndimage.median_filter(difference, size=3), sigma=1)
    return a + alpha * torch.from_numpy(smooth).to(a.device)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [smooth_add]
