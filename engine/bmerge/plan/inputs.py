"""The first passes of a merge, of its models' tables of contents, before tensors are matched.

What comes of them is the same for every trial of a study. The passes of a plan are in
:mod:`bmerge.pipeline.passes`.
"""

from __future__ import annotations

from collections.abc import Sequence

from bmerge.formats import Checkpoint, decoded, in_one_layout
from bmerge.plan.checks import check_models
from bmerge.recipe import Recipe

__all__ = ["in_one_form"]


def in_one_form(recipe: Recipe, checkpoints: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """Return the models with floats for codes, and one name for each tensor: decode, layout.

    Models that are so already stay as they are. LoRAs are put on afterwards: what they change has
    a name by then.

    Raises:
        FormatError: if weights are quantised in a way that cannot be decoded.
        ArchitectureError: if one is a LoRA.
    """
    models = [decoded(checkpoint) for checkpoint in checkpoints]
    check_models(models)
    return in_one_layout(models, whole_first=recipe.picks)
