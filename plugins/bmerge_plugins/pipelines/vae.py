"""Names of the autoencoder: diffusers' and those of the LDM code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bmerge_plugins.pipelines.source import ParameterSource, rename

__all__ = ["vae_source"]

_PARTS = (
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
    (r"mid_block\.attentions\.0\.to_out\.0\.", "mid.attn_1.proj_out."),
    (r"mid_block\.attentions\.0\.to_([qkv])\.", r"mid.attn_1.\1."),
    (r"down_blocks\.(\d+)\.resnets\.(\d+)\.", r"down.\1.block.\2."),
    (r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"up_blocks\.(\d+)\.resnets\.(\d+)\.", r"up.\1.block.\2."),
    (r"up_blocks\.(\d+)\.upsamplers\.0\.", r"up.\1.upsample."),
    (r"conv_norm_out\.", "norm_out."),
    (r"(conv_in|conv_out)\.", r"\1."),
)


def vae_source(name: str, config: Mapping[str, Any], prefix: str) -> ParameterSource:
    """Return where a parameter of ``AutoencoderKL`` stands.

    Args:
        name: of the parameter.
        config: of the autoencoder.
        prefix: of its keys.

    Raises:
        KeyError: if the LDM code has no such parameter.
    """
    if name.startswith(("quant_conv.", "post_quant_conv.")):
        return ParameterSource(prefix + name)
    side, _, inner = name.partition(".")
    if side not in {"encoder", "decoder"}:
        raise KeyError(name)
    renamed = rename(inner, _PARTS).replace(".conv_shortcut.", ".nin_shortcut.")
    last = len(config["block_out_channels"]) - 1  # the LDM code counts levels by their resolution
    renamed = re.sub(r"^up\.(\d+)", lambda found: f"up.{last - int(found[1])}", renamed)
    return ParameterSource(f"{prefix}{side}.{renamed}")
