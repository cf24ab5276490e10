"""The names of a UNet's layers in diffusers, made from their names in the LDM and SGM code.

Stable Diffusion's UNets have two residual blocks in each level on the way down and three on the
way up; that alone turns the running numbers of one into the levels of the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["unet_names"]

_OUTSIDE = {
    "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1", "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in", "out.0": "conv_norm_out", "out.2": "conv_out",
}  # fmt: skip
_CLASSES = {
    "label_emb.0.0": "class_embedding.linear_1", "label_emb.0.2": "class_embedding.linear_2",
}  # fmt: skip
"""What diffusers calls layers of a UNet that takes a class or a picture's embedding."""
_RESIDUAL = {
    "in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2", "out_layers.3": "conv2", "skip_connection": "conv_shortcut",
}  # fmt: skip
_NUMBERED = re.compile(r"(input|output)_blocks\.(\d+)\.(\d+)\.(.+)", re.DOTALL)
_MIDDLE = re.compile(r"middle_block\.([012])\.(.+)", re.DOTALL)


def unet_names(stem: str) -> Iterator[str]:
    """Yield the names in diffusers of a layer with an LDM name, the usual one first.

    Args:
        stem: the layer's path in the UNet.
    """
    if stem in _OUTSIDE:
        yield _OUTSIDE[stem]
        if stem in _CLASSES:
            yield _CLASSES[stem]
    elif found := _MIDDLE.fullmatch(stem):
        number, rest = int(found[1]), found[2]
        kind = "attentions.0" if number == 1 else f"resnets.{number // 2}"
        yield f"mid_block.{kind}.{_RESIDUAL.get(rest, rest)}"
    elif found := _NUMBERED.fullmatch(stem):
        yield _numbered(found[1], int(found[2]), int(found[3]), found[4])


def _numbered(side: str, block: int, place: int, rest: str) -> str:
    down = side == "input"
    level, number = divmod(block - 1 if down else block, 3)
    stage = f"{'down' if down else 'up'}_blocks.{level}"
    if rest in {"op", "conv"}:
        return f"{stage}.{'downsamplers' if down else 'upsamplers'}.0.conv"
    if place == 0:
        return f"{stage}.resnets.{number}.{_RESIDUAL.get(rest, rest)}"
    return f"{stage}.attentions.{number}.{rest}"
