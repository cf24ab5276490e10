"""weighted_sum: the mean of two models, weighted."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, Weight, hookimpl, merge_method


@merge_method(aliases=("weight_sum", "WS"))
def weighted_sum(a: Alike, b: Alike, *, alpha: Weight = 0.5) -> Alike:
    """Mix two models: 0 is a, 1 is b, 0.5 their mean.

    Formula: (1 - alpha) * a + alpha * b

    The first method to try with two fine-tunes of one base. With a value per block it is what
    "MBW" merges do. Values below 0 and above 1 go beyond the models, away from the other one.

    Args:
        a: first model.
        b: second model.
        alpha: b's share.

    Source: Model soups (Wortsman et al., 2022, arXiv:2203.05482); weighted_sum of sd-meh and
    sd-mecha, "Weight sum" of supermerger and the AUTOMATIC1111 web UI, WS of Chattiori's merger.
    ComfyUI's ModelMergeSimple has the share of its first model, 1 - alpha.
    """
    return (1 - alpha) * a + alpha * b


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [weighted_sum]
