"""Names of the transformers of Stable Diffusion 3 and Flux: diffusers' and the original ones.

Both keep query, key and value in one tensor, and have shift and scale the other way round in
front of their last layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bmerge_plugins.pipelines.source import ParameterSource, rename

__all__ = ["flux_source", "sd3_source"]

_LAST = (
    (r"proj_out\.", "final_layer.linear."),
    (r"norm_out\.linear\.", "final_layer.adaLN_modulation.1."),
)
_SD3 = (
    (r"pos_embed\.proj\.", "x_embedder.proj."),
    (r"pos_embed\.pos_embed$", "pos_embed"),
    (r"time_text_embed\.timestep_embedder\.linear_1\.", "t_embedder.mlp.0."),
    (r"time_text_embed\.timestep_embedder\.linear_2\.", "t_embedder.mlp.2."),
    (r"time_text_embed\.text_embedder\.linear_1\.", "y_embedder.mlp.0."),
    (r"time_text_embed\.text_embedder\.linear_2\.", "y_embedder.mlp.2."),
    (r"context_embedder\.", "context_embedder."),
    *_LAST,
)
_SD3_BLOCK = (
    (r"(attn2?)\.norm_([qk])\.", r"x_block.\1.ln_\2."),
    (r"(attn2?)\.to_out\.0\.", r"x_block.\1.proj."),
    (r"attn\.norm_added_([qk])\.", r"context_block.attn.ln_\1."),
    (r"attn\.to_add_out\.", "context_block.attn.proj."),
    (r"norm1\.linear\.", "x_block.adaLN_modulation.1."),
    (r"norm1_context\.linear\.", "context_block.adaLN_modulation.1."),
    (r"ff\.net\.0\.proj\.", "x_block.mlp.fc1."),
    (r"ff\.net\.2\.", "x_block.mlp.fc2."),
    (r"ff_context\.net\.0\.proj\.", "context_block.mlp.fc1."),
    (r"ff_context\.net\.2\.", "context_block.mlp.fc2."),
)
_FLUX = (
    (r"time_text_embed\.timestep_embedder\.linear_1\.", "time_in.in_layer."),
    (r"time_text_embed\.timestep_embedder\.linear_2\.", "time_in.out_layer."),
    (r"time_text_embed\.text_embedder\.linear_1\.", "vector_in.in_layer."),
    (r"time_text_embed\.text_embedder\.linear_2\.", "vector_in.out_layer."),
    (r"time_text_embed\.guidance_embedder\.linear_1\.", "guidance_in.in_layer."),
    (r"time_text_embed\.guidance_embedder\.linear_2\.", "guidance_in.out_layer."),
    (r"context_embedder\.", "txt_in."),
    (r"x_embedder\.", "img_in."),
    *_LAST,
)
_FLUX_DOUBLE = (
    (r"norm1\.linear\.", "img_mod.lin."),
    (r"norm1_context\.linear\.", "txt_mod.lin."),
    (r"attn\.to_out\.0\.", "img_attn.proj."),
    (r"attn\.to_add_out\.", "txt_attn.proj."),
    (r"attn\.norm_q\.weight", "img_attn.norm.query_norm.scale"),
    (r"attn\.norm_k\.weight", "img_attn.norm.key_norm.scale"),
    (r"attn\.norm_added_q\.weight", "txt_attn.norm.query_norm.scale"),
    (r"attn\.norm_added_k\.weight", "txt_attn.norm.key_norm.scale"),
    (r"ff\.net\.0\.proj\.", "img_mlp.0."),
    (r"ff\.net\.2\.", "img_mlp.2."),
    (r"ff_context\.net\.0\.proj\.", "txt_mlp.0."),
    (r"ff_context\.net\.2\.", "txt_mlp.2."),
)
_FLUX_SINGLE = (
    (r"norm\.linear\.", "modulation.lin."),
    (r"proj_out\.", "linear2."),
    (r"attn\.norm_q\.weight", "norm.query_norm.scale"),
    (r"attn\.norm_k\.weight", "norm.key_norm.scale"),
)
_BLOCK = re.compile(r"(single_)?transformer_blocks\.(\d+)\.(.*)")
_STACKED = re.compile(r"(attn2?)\.(?:to_([qkv])|add_([qkv])_proj)\.(weight|bias)")
_IN_LINEAR1 = re.compile(r"(?:attn\.to_([qkv])|proj_(mlp))\.(weight|bias)")


def sd3_source(name: str, config: Mapping[str, Any], prefix: str) -> ParameterSource:
    """Return where a parameter of ``SD3Transformer2DModel`` stands.

    Args:
        name: of the parameter.
        config: of the transformer.
        prefix: of its keys.

    Raises:
        KeyError: if the original code has no such parameter.
    """
    block = _BLOCK.fullmatch(name)
    if not block:
        return _outside(name, prefix, _SD3)
    where, inner = f"{prefix}joint_blocks.{block[2]}.", block[3]
    stacked = _STACKED.fullmatch(inner)
    if stacked:
        attention, own, added, kind = stacked.groups()
        side = "x_block" if own else "context_block"
        return ParameterSource(
            f"{where}{side}.{attention}.qkv.{kind}", part="qkv".index(own or added)
        )
    last = int(block[2]) == config["num_layers"] - 1
    swapped = last and inner.startswith("norm1_context.")
    return ParameterSource(where + rename(inner, _SD3_BLOCK), form="swapped" if swapped else "same")


def flux_source(name: str, prefix: str) -> ParameterSource:
    """Return where a parameter of ``FluxTransformer2DModel`` stands.

    Args:
        name: of the parameter.
        prefix: of its keys.

    Raises:
        KeyError: if the original code has no such parameter.
    """
    block = _BLOCK.fullmatch(name)
    if not block:
        return _outside(name, prefix, _FLUX)
    single, number, inner = block.groups()
    if single:
        where = f"{prefix}single_blocks.{number}."
        first = _IN_LINEAR1.fullmatch(inner)
        if first:
            part = "qkv".index(first[1]) if first[1] else 3
            return ParameterSource(f"{where}linear1.{first[3]}", part=part)
        return ParameterSource(where + rename(inner, _FLUX_SINGLE))
    where = f"{prefix}double_blocks.{number}."
    stacked = _STACKED.fullmatch(inner)
    if stacked:
        _, own, added, kind = stacked.groups()
        side = "img_attn" if own else "txt_attn"
        return ParameterSource(f"{where}{side}.qkv.{kind}", part="qkv".index(own or added))
    return ParameterSource(where + rename(inner, _FLUX_DOUBLE))


def _outside(name: str, prefix: str, rules: Sequence[tuple[str, str]]) -> ParameterSource:
    """Return where a parameter stands that is in no block."""
    swapped = name.startswith("norm_out.")
    return ParameterSource(prefix + rename(name, rules), form="swapped" if swapped else "same")
