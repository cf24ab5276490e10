"""First layers, whose input channels tell what a model is made for.

Models that are given a picture take more channels than those that are not: the noise comes first
in all of them, then the mask, the picture, or whatever they are made for, which is not the same in
models of other kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["FIRST_LAYERS", "differ_in_channels", "noise_channels"]


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
    # text to image, by depth, pix2pix, inpainting
    _FirstLayer(("input_blocks.0.0.weight", "conv_in.weight"), 4, frozenset({4, 5, 8, 9})),
    # Flux.1: dev and Kontext, Depth and Canny, Fill; 16 channels of 2 × 2 pixels each
    _FirstLayer(("img_in.weight", "x_embedder.weight"), 2, frozenset({64, 128, 384})),
    # Wan: text to video, Fun Camera, image to video, Fun Control with a picture of 2.1 and of 2.2
    _FirstLayer(("patch_embedding.weight",), 5, frozenset({16, 32, 36, 48, 52})),
    # CogVideoX: text to video, image to video, inpainting
    _FirstLayer(("patch_embed.proj.weight",), 4, frozenset({16, 32, 48})),
    # CogVideoX 1.5: text to video, image to video; 2 frames of 2 × 2 pixels
    _FirstLayer(("patch_embed.proj.weight",), 2, frozenset({128, 256})),
    # HunyuanVideo: text to video, SkyReels, image to video
    _FirstLayer(("img_in.proj.weight", "x_embedder.proj.weight"), 5, frozenset({16, 32, 33})),
)
FIRST_LAYERS = tuple(name for layer in _LAYERS for name in layer.names)
"""How the keys of first layers end."""


def differ_in_channels(key: str, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Tell whether this is a first layer whose inputs differ in its channels alone."""
    without = {(shape[0], *shape[2:]) for shape in shapes if len(shape) > 1}
    layers = {_layer_of(key, shape) for shape in shapes}
    return len(without) == 1 and len(layers) == 1 and None not in layers


def noise_channels(key: str, shape: tuple[int, ...]) -> int:
    """Return how many channels of a first layer are those of the noise: all of an unknown one."""
    layer = _layer_of(key, shape)
    return shape[1] if layer is None else layer.noise


def _layer_of(key: str, shape: tuple[int, ...]) -> _FirstLayer | None:
    """Return what is known of a first layer; None of any other, or of other channels."""
    for layer in _LAYERS:
        if key.endswith(layer.names) and len(shape) == layer.dimensions:
            return layer if shape[1] in layer.channels else None
    return None
