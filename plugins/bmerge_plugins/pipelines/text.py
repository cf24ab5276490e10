"""Names of text encoders: transformers' CLIP, as in checkpoints or as OpenCLIP has them.

OpenCLIP keeps query, key and value in one tensor, and the text projection transposed.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from bmerge_plugins.pipelines.source import ParameterSource, rename

__all__ = ["clip_source", "open_clip_source"]

_OPEN_CLIP = (
    (r"embeddings\.token_embedding\.weight$", "token_embedding.weight"),
    (r"embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"final_layer_norm\.", "ln_final."),
    (r"encoder\.layers\.(\d+)\.layer_norm([12])\.", r"transformer.resblocks.\1.ln_\2."),
    (r"encoder\.layers\.(\d+)\.mlp\.fc1\.", r"transformer.resblocks.\1.mlp.c_fc."),
    (r"encoder\.layers\.(\d+)\.mlp\.fc2\.", r"transformer.resblocks.\1.mlp.c_proj."),
    (r"encoder\.layers\.(\d+)\.self_attn\.out_proj\.", r"transformer.resblocks.\1.attn.out_proj."),
)
_STACKED = re.compile(r"encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(weight|bias)")


def clip_source(name: str, keys: Collection[str], prefix: str) -> ParameterSource:
    """Return where a parameter of ``CLIPTextModel`` stands that a checkpoint has as it is.

    Args:
        name: of the parameter, which has lost ``text_model.`` in new versions of transformers.
        keys: of the checkpoint; those of old trainers lack ``text_model.``, too.
        prefix: of the text encoder's keys.
    """
    if name == "text_projection.weight":
        return ParameterSource(prefix + name)
    bare = name.removeprefix("text_model.")
    whole = f"{prefix}text_model.{bare}"
    return ParameterSource(whole if whole in keys else prefix + bare)


def open_clip_source(name: str, prefix: str) -> ParameterSource:
    """Return where a parameter of ``CLIPTextModel`` stands in a checkpoint with OpenCLIP's keys.

    Args:
        name: of the parameter.
        prefix: of the text encoder's keys.

    Raises:
        KeyError: if OpenCLIP has no such parameter.
    """
    if name == "text_projection.weight":
        return ParameterSource(prefix + "text_projection", form="transposed")
    bare = name.removeprefix("text_model.")
    stacked = _STACKED.fullmatch(bare)
    if stacked:
        layer, which, kind = stacked.groups()
        key = f"{prefix}transformer.resblocks.{layer}.attn.in_proj_{kind}"
        return ParameterSource(key, part="qkv".index(which))
    return ParameterSource(prefix + rename(bare, _OPEN_CLIP))
