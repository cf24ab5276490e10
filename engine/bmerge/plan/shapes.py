"""Shapes that differ only in the input channels of a model's first layer.

Models that are given a picture take more channels than those that are not: the noise comes first
in all of them, then the mask, the picture, or whatever they are made for, which is not the same in
models of other kinds. The channels of the noise are merged; the others are kept from the widest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bmerge.errors import ArchitectureError
from bmerge.formats import Tensor
from bmerge.plan.forms import Form, Leaf

__all__ = ["FIRST_LAYERS", "MergedShape", "common_extent", "differ_in_channels"]


class _FirstLayer(NamedTuple):
    """A first layer: how its key ends, its number of dimensions, and input channels it may have.

    The least of these are the noise, which is what all of its models have in common.
    """

    names: tuple[str, ...]
    dimensions: int
    channels: frozenset[int]

    @property
    def noise(self) -> int:
        """How many channels are noise."""
        return min(self.channels)


_LAYERS = (
    # text to image, pix2pix, inpainting
    _FirstLayer(("input_blocks.0.0.weight", "conv_in.weight"), 4, frozenset({4, 8, 9})),
    # Flux.1: dev and Kontext, Depth and Canny, Fill; 16 channels of 2 × 2 pixels each
    _FirstLayer(("img_in.weight", "x_embedder.weight"), 2, frozenset({64, 128, 384})),
    # Wan: text to video, image to video, control with a picture
    _FirstLayer(("patch_embedding.weight",), 5, frozenset({16, 36, 48})),
    # CogVideoX: text to video, image to video
    _FirstLayer(("patch_embed.proj.weight",), 4, frozenset({16, 32})),
    # HunyuanVideo: text to video, SkyReels, image to video
    _FirstLayer(("img_in.proj.weight", "x_embedder.proj.weight"), 5, frozenset({16, 32, 33})),
)
FIRST_LAYERS = tuple(name for layer in _LAYERS for name in layer.names)
"""How the keys of first layers end."""


@dataclass(frozen=True, slots=True)
class MergedShape:
    """The shape of a value, and which channels of it are merged.

    Args:
        widest: a model's tensor of that shape.
        channels: how many are merged, if not all; the others are that tensor's.
    """

    widest: Tensor
    channels: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.widest.shape


class _Found(Protocol):
    @property
    def form(self) -> Form: ...
    @property
    def info(self) -> Tensor: ...
    @property
    def extent(self) -> MergedShape: ...


def common_extent(key: str, found: Sequence[_Found]) -> MergedShape:
    """Return the extent of what is computed from several values.

    Args:
        key: name of the tensor.
        found: the values' tensors, one or more.

    Raises:
        ArchitectureError: if their shapes do not fit together.
    """
    first = found[0]
    equal = len({each.extent.shape for each in found}) == 1
    if equal and not any(each.extent.channels for each in found):
        return first.extent
    widest = max(found, key=lambda each: each.extent.shape[1:2])
    if not equal and not differ_in_channels(key, [each.extent.shape for each in found]):
        other = next(each for each in found if each.extent.shape != first.extent.shape)
        message = (
            f"{key!r} has shape {list(first.extent.shape)} in {first.info.file.name} "
            f"and {list(other.extent.shape)} in {other.info.file.name}"
        )
        raise ArchitectureError(message, hint="these models cannot be merged with each other")
    layer = None if equal else _layer_of(key, first.extent.shape)
    shared = first.extent.shape[1] if layer is None else layer.noise
    if all(_is_cut(each, shared) for each in found):
        return MergedShape(widest.extent.widest, shared)
    message = f"{key!r} has other input channels from step to step"
    raise ArchitectureError(message, hint="merge models of equal channels first, in one step")


def _is_cut(found: _Found, shared: int) -> bool:
    """Tell whether a value's first ``shared`` channels can be computed by themselves."""
    computed = found.extent.channels or found.extent.shape[1]
    return isinstance(found.form, Leaf) or computed == shared


def differ_in_channels(key: str, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Tell whether this is a first layer whose inputs differ in its channels alone."""
    without = {(shape[0], *shape[2:]) for shape in shapes if len(shape) > 1}
    layers = {_layer_of(key, shape) for shape in shapes}
    return len(without) == 1 and len(layers) == 1 and None not in layers


def _layer_of(key: str, shape: tuple[int, ...]) -> _FirstLayer | None:
    """Return what is known of a first layer; None of any other, or of other channels."""
    for layer in _LAYERS:
        if key.endswith(layer.names) and len(shape) == layer.dimensions:
            return layer if shape[1] in layer.channels else None
    return None
