"""model_stock: the mean of fine-tunes, drawn back to their base as far as they disagree."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, hookimpl, merge_method
from bmerge_plugins.methods._common import stock_share, total


@merge_method(aliases=("n_model_stock",))
def model_stock(base: Alike, *models: Alike, filter_wise: bool = False) -> Alike:
    """Average fine-tunes, and go back towards their base as far as they disagree.

    Formula: base + t * mean of all model_i - base, with t = n * c / (1 + (n - 1) * c), n the
        number of models and c the mean cosine between any two of the model_i - base

    Needs no tuning: where the models agree it is their mean, where their changes are at right
    angles it is the base. Two or more fine-tunes with the same settings are what it is made for.

    Args:
        base: what the models were trained from.
        models: fine-tunes of it.
        filter_wise: an angle for each vector of the last dimension, not for the whole tensor.

    Source: Model stock (Jang et al., 2024, arXiv:2403.19522); model_stock of mergekit. That of
    sd-mecha takes the cosines of neighbouring models only, filter-wise.
    """
    deltas = [model - base for model in models]
    if not deltas:
        return base
    if len(deltas) == 1:
        return base + deltas[0]
    share = stock_share(deltas, -1 if filter_wise else None) / len(deltas)
    return base + total(share * delta for delta in deltas)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [model_stock]
