"""linear: the weighted mean, or the weighted sum, of any number of models."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Alike, MergeMethod, PerModel, Weight, hookimpl, merge_method
from bmerge_plugins.methods._common import total
from bmerge_plugins.methods._task_vectors import divisor


@merge_method(aliases=("n_average", "average", "model_soup"))
def linear(*models: Alike, weight: PerModel[Weight] = 1.0, normalize: bool = True) -> Alike:
    """Mix any number of models.

    Formula: sum of weight_i * model_i, divided by the sum of weight_i if normalize

    With equal weights it is the mean, which is often better than each of several fine-tunes of
    one base. With normalize off and two models it is "w_A * a + w_B * b" of auto-MBW.

    Args:
        models: what is mixed.
        weight: one for each model.
        normalize: divide by the sum of the weights, unless that is 0.

    Source: Model soups (Wortsman et al., 2022, arXiv:2203.05482); linear of mergekit, n_average
    of sd-mecha.
    """
    scale = 1 / divisor(total(weight)) if normalize else 1.0
    return total(w * scale * model for w, model in zip(weight, models, strict=True))


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [linear]
