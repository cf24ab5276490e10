"""A VAE by the names of its own code, where diffusers has given it others.

Its levels are called otherwise, those of the decoder counted from the other end, and what is a
convolution of one pixel in the attention is a matrix in diffusers: the same bytes in another shape.
"""

from __future__ import annotations

import re
from dataclasses import replace

from bmerge.formats.checkpoint import Checkpoint, Tensor

__all__ = ["original_vae"]

_UP = re.compile(r"decoder\.up_blocks\.(\d+)\.")
_LEVEL = re.compile(r"(encoder\.down|decoder\.up)_blocks\.(\d+)\.(.+)")
_NAMES = (
    (r"resnets\.(\d+)\.", r"block.\1."), (r"(down|up)samplers\.0\.", r"\1sample."),
    ("conv_shortcut", "nin_shortcut"), ("conv_norm_out", "norm_out"),
)  # fmt: skip
_MIDDLE = (
    (r"mid_block\.resnets\.0\.", "mid.block_1."), (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
    (r"mid_block\.attentions\.0\.(?:to_q|query)\.", "mid.attn_1.q."),
    (r"mid_block\.attentions\.0\.(?:to_k|key)\.", "mid.attn_1.k."),
    (r"mid_block\.attentions\.0\.(?:to_v|value)\.", "mid.attn_1.v."),
    (r"mid_block\.attentions\.0\.(?:to_out\.0|proj_attn)\.", "mid.attn_1.proj_out."),
)  # fmt: skip
"""Pattern of diffusers' names, also those of its first versions → what the VAE's own code has."""


def original_vae(checkpoint: Checkpoint) -> Checkpoint:
    """Return a VAE of diffusers by the names of its own code, any other checkpoint as it is.

    Args:
        checkpoint: with nothing before its keys.
    """
    levels = [int(found[1]) for key in checkpoint.tensors if (found := _UP.match(key))]
    if not levels:
        return checkpoint
    tensors: dict[str, Tensor] = {}
    for key, info in checkpoint.tensors.items():
        name = _name(key, max(levels))
        matrix = ".attn_1." in name and len(info.shape) == 2
        tensors[name] = info.named(name, (*info.shape, 1, 1) if matrix else None)
    return replace(checkpoint, tensors=tensors)


def _name(key: str, last: int) -> str:
    """Return what the VAE's own code calls a tensor; ``last`` is the decoder's last level."""
    found = _LEVEL.fullmatch(key)
    if found:
        side, number, rest = found[1], int(found[2]), found[3]
        key = f"{side}.{last - number if side == 'decoder.up' else number}.{rest}"
    for pattern, name in (*_MIDDLE, *_NAMES):
        key = re.sub(pattern, name, key)
    return key
