"""What a model brings along whose first layer has more input channels than the first model's.

What comes out of such a merge is a model of the wider kind, whichever was first: an image-to-video
model has layers for its picture which a text-to-video model lacks. They are given to the first
model, so that they come out as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from bmerge.architectures import Architecture
from bmerge.architectures.first_layers import FIRST_LAYERS, differ_in_channels
from bmerge.formats import Checkpoint, Tensor, leading
from bmerge.records import dataclass

__all__ = ["Widths", "with_wider"]


@dataclass(frozen=True, slots=True)
class Widths:
    """Which models of a merge have more input channels than others.

    Args:
        along: name of a wider file than the first → keys of it that the first has been given.
        narrow: names of the files that are narrower than the first; they lack what is for those
            channels.
    """

    along: Mapping[str, Sequence[str]] = field(default_factory=dict)
    narrow: frozenset[str] = frozenset()


def with_wider(
    checkpoints: Sequence[Checkpoint], architecture: Architecture, *, picks: bool
) -> tuple[tuple[Checkpoint, ...], Widths]:
    """Return the models of a merge, the first with what only wider ones have.

    Args:
        checkpoints: the models, in one layout.
        architecture: tells leftovers of training.
        picks: whether the recipe says itself what comes from where; nothing is changed then.

    Returns:
        The models, and which are wider than others.
    """
    first = leading(checkpoints)
    others = [] if picks else [each for each in checkpoints if _differ(first, each)]
    narrow = frozenset(each.path.name for each in others if _wider_layer(each, first))
    tensors: dict[str, Tensor] = {}
    along: dict[str, list[str]] = {}
    for other in others:
        layer = _wider_layer(first, other)
        if layer is not None:
            new = _brought(first, other, layer, architecture)
            along[other.path.name] = [key for key in new if key not in tensors]
            tensors = {**new, **tensors}
    along = {name: keys for name, keys in along.items() if keys}
    if tensors:
        wide = replace(first, tensors={**first.tensors, **tensors})
        checkpoints = [wide if each is first else each for each in checkpoints]
    return tuple(checkpoints), Widths(along, narrow)


def _differ(first: Checkpoint, other: Checkpoint) -> bool:
    """Tell whether one has keys that the other has not."""
    return other is not first and other.tensors.keys() != first.tensors.keys()


def _brought(
    first: Checkpoint, other: Checkpoint, layer: str, architecture: Architecture
) -> dict[str, Tensor]:
    """Return what only a wider model has of the component that its first layer is in."""
    from bmerge.architectures.components import components_of  # as few bring anything

    components = components_of(other.tensors)
    return {
        key: tensor
        for key, tensor in other.tensors.items()
        if key not in first.tensors
        and components[key] == components[layer]
        and not architecture.is_leftover(key)
    }


def _wider_layer(first: Checkpoint, other: Checkpoint) -> str | None:
    """Return the key of a first layer that has more input channels in the other model."""
    for key, info in first.tensors.items():
        if key.endswith(FIRST_LAYERS) and key in other.tensors:
            shape = other.tensors[key].shape
            if shape[1:2] > info.shape[1:2] and differ_in_channels(key, [info.shape, shape]):
                return key
    return None
