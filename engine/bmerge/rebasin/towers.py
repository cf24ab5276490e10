"""The rules for what stands beside the UNet: text encoders and the autoencoder.

The stream of a text encoder is left as it is: textual inversions and UNets in files of their own
know its order. What lies between two of its layers, heads and the middle of its feed-forward
layers, is its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bmerge.rebasin.unet import attention
from bmerge.rebasin.wiring import FIXED, Axis, Wiring

__all__ = ["wire_autoencoder", "wire_text_encoders"]

_TRANSFORMERS = re.compile(r"(.*\.layers\.\d+\.)self_attn\.q_proj\.weight")
_OPEN_CLIP = re.compile(r"(.*\.resblocks\.\d+\.)attn\.in_proj_weight")


def wire_text_encoders(wiring: Wiring, heads: Callable[[int], int]) -> None:
    """Note the layers of all CLIP text encoders: transformers' and OpenCLIP's.

    Args:
        wiring: where to note it.
        heads: how many heads an encoder of a width has.
    """
    for key in list(wiring.shapes):
        if found := _TRANSFORMERS.fullmatch(key):
            _transformers_layer(wiring, found[1], heads)
        elif found := _OPEN_CLIP.fullmatch(key):
            _open_clip_layer(wiring, found[1], heads)


def _transformers_layer(wiring: Wiring, prefix: str, heads: Callable[[int], int]) -> None:
    query, key, value, out = (f"{prefix}self_attn.{name}_proj" for name in ("q", "k", "v", "out"))
    count = heads(wiring.width(query))
    attention(wiring, prefix + "heads", (query, key, value, out), count, *(FIXED,) * 4)
    wiring.layer(prefix + "mlp.fc2", wiring.layer(prefix + "mlp.fc1", FIXED), FIXED)


def _open_clip_layer(wiring: Wiring, prefix: str, heads: Callable[[int], int]) -> None:
    width = wiring.width(prefix + "attn.out_proj")
    asked, answered = wiring.heads(prefix + "heads", width, heads(width))
    for key in ("attn.in_proj_weight", "attn.in_proj_bias"):  # queries, keys and values in one
        wiring.tie(prefix + key, asked + asked + answered)
    wiring.layer(prefix + "attn.out_proj", answered, FIXED)
    wiring.layer(prefix + "mlp.c_proj", wiring.layer(prefix + "mlp.c_fc", FIXED), FIXED)


def wire_autoencoder(wiring: Wiring, prefix: str) -> None:
    """Note how an autoencoder with LDM's keys is wired; latents and pictures stay as they are.

    Args:
        wiring: where to note it.
        prefix: before its keys: ``first_stage_model.``.
    """
    for half, path, change in (
        ("encoder.", wiring.numbered(prefix + "encoder.down."), "downsample.conv"),
        ("decoder.", wiring.numbered(prefix + "decoder.up.")[::-1], "upsample.conv"),
    ):
        if not wiring.has(prefix + half + "conv_in"):
            continue
        x = wiring.layer(prefix + half + "conv_in", FIXED)
        if half == "decoder.":
            x = _middle(wiring, prefix + half + "mid.", x)
        for level in path:
            x = _level(wiring, level, x, change)
        if half == "encoder.":
            x = _middle(wiring, prefix + half + "mid.", x)
        wiring.norm(prefix + half + "norm_out", x)
        wiring.layer(prefix + half + "conv_out", x, FIXED)


def _level(wiring: Wiring, prefix: str, x: Axis, change: str) -> Axis:
    number = 0
    while wiring.has(f"{prefix}block.{number}.conv1"):
        x = _residual(wiring, f"{prefix}block.{number}.", x)
        if wiring.has(f"{prefix}attn.{number}.q"):
            _attention(wiring, f"{prefix}attn.{number}.", x)
        number += 1
    return wiring.layer(prefix + change, x) if wiring.has(prefix + change) else x


def _middle(wiring: Wiring, prefix: str, x: Axis) -> Axis:
    x = _residual(wiring, prefix + "block_1.", x)
    _attention(wiring, prefix + "attn_1.", x)
    return _residual(wiring, prefix + "block_2.", x)


def _residual(wiring: Wiring, prefix: str, x: Axis) -> Axis:
    wiring.norm(prefix + "norm1", x)
    hidden = wiring.layer(prefix + "conv1", x)
    wiring.norm(prefix + "norm2", hidden)
    skip = prefix + "nin_shortcut"
    out = wiring.layer(skip, x) if wiring.has(skip) else x
    return wiring.layer(prefix + "conv2", hidden, out)


def _attention(wiring: Wiring, prefix: str, x: Axis) -> None:
    wiring.norm(prefix + "norm", x)
    layers = prefix + "q", prefix + "k", prefix + "v", prefix + "proj_out"
    attention(wiring, prefix + "heads", layers, 1, x, x, x, x)
