"""Names of the UNets of Stable Diffusion 1, 2 and XL: diffusers' and those of the LDM code.

The LDM code numbers all blocks of a side through; a downsampler counts as a block of its own, an
upsampler belongs to the last block of its level.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bmerge_plugins.pipelines.source import ParameterSource, rename

__all__ = ["unet_source"]

_OUTSIDE = (
    (r"conv_in\.", "input_blocks.0.0."),
    (r"time_embedding\.linear_1\.", "time_embed.0."),
    (r"time_embedding\.linear_2\.", "time_embed.2."),
    (r"add_embedding\.linear_1\.", "label_emb.0.0."),
    (r"add_embedding\.linear_2\.", "label_emb.0.2."),
    (r"conv_norm_out\.", "out.0."),
    (r"conv_out\.", "out.2."),
    (r"mid_block\.attentions\.0\.", "middle_block.1."),
)
_RESIDUAL = (
    (r"norm1\.", "in_layers.0."),
    (r"conv1\.", "in_layers.2."),
    (r"time_emb_proj\.", "emb_layers.1."),
    (r"norm2\.", "out_layers.0."),
    (r"conv2\.", "out_layers.3."),
    (r"conv_shortcut\.", "skip_connection."),
)
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|\w+samplers)\.(\d+)\.(.*)")
_MIDDLE = re.compile(r"mid_block\.resnets\.(\d)\.(.*)")


def unet_source(name: str, config: Mapping[str, Any], prefix: str) -> ParameterSource:
    """Return where a parameter of ``UNet2DConditionModel`` stands.

    Args:
        name: of the parameter.
        config: of the UNet.
        prefix: of its keys.

    Raises:
        KeyError: if the LDM code has no such parameter.
    """
    middle = _MIDDLE.fullmatch(name)
    if middle:
        place = "02"[int(middle[1])]
        return ParameterSource(f"{prefix}middle_block.{place}.{rename(middle[2], _RESIDUAL)}")
    block = _BLOCK.fullmatch(name)
    if not block:
        return ParameterSource(prefix + rename(name, _OUTSIDE))
    side, level, kind, number, rest = block[1], int(block[2]), block[3], int(block[4]), block[5]
    layers = config["layers_per_block"]
    down = side == "down"
    first = level * (layers + 1) + (1 if down else 0)
    where = prefix + ("input_blocks." if down else "output_blocks.")
    if kind == "resnets":
        return ParameterSource(f"{where}{first + number}.0.{rename(rest, _RESIDUAL)}")
    if kind == "attentions":
        return ParameterSource(f"{where}{first + number}.1.{rest}")
    if kind == "downsamplers":
        return ParameterSource(f"{where}{first + layers}.0.{rename(rest, [('conv', 'op')])}")
    after = 2 if "Attn" in config["up_block_types"][level] else 1
    return ParameterSource(f"{where}{first + layers}.{after}.{rest}")
