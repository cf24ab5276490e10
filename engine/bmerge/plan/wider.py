"""What a model brings along whose first layer has more input channels than the first model's.

What comes out of such a merge is a model of the wider kind, whichever was first: an image-to-video
model has layers for its picture which a text-to-video model lacks. They are given to the first
model, so that they come out as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bmerge.architectures import Architecture
from bmerge.architectures.components import components_of
from bmerge.formats import Checkpoint, Tensor, leading
from bmerge.plan.shapes import FIRST_LAYERS, differ_in_channels

__all__ = ["with_wider"]


def with_wider(
    checkpoints: Sequence[Checkpoint], architecture: Architecture, *, picks: bool
) -> tuple[tuple[Checkpoint, ...], Mapping[str, Sequence[str]]]:
    """Return the models of a merge, the first with what only wider ones have.

    Args:
        checkpoints: the models, in one layout.
        architecture: tells leftovers of training.
        picks: whether the recipe says itself what comes from where; nothing is changed then.

    Returns:
        The models; and name of a wider file → the keys that come from it.
    """
    first = leading(checkpoints)
    along: dict[str, list[str]] = {}
    tensors: dict[str, Tensor] = {}
    for other in () if picks else checkpoints:
        extra = [key for key in other.tensors if key not in first.tensors]
        layer = _wider_layer(first, other) if extra and other is not first else None
        if layer is None:
            continue
        components = components_of(other.tensors)
        keys = [
            key
            for key in extra
            if components[key] == components[layer]
            and key not in tensors
            and not architecture.is_leftover(key)
        ]
        if keys:
            along[other.path.name] = keys
            tensors.update((key, other.tensors[key]) for key in keys)
    if not along:
        return tuple(checkpoints), {}
    wide = replace(first, tensors={**first.tensors, **tensors})
    return tuple(wide if each is first else each for each in checkpoints), along


def _wider_layer(first: Checkpoint, other: Checkpoint) -> str | None:
    """Return the key of a first layer that has more input channels in another model."""
    for key, info in first.tensors.items():
        if key.endswith(FIRST_LAYERS) and key in other.tensors:
            shape = other.tensors[key].shape
            if shape[1:2] > info.shape[1:2] and differ_in_channels(key, [info.shape, shape]):
                return key
    return None
