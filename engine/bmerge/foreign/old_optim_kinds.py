"""sd-optim's configurations whose blocks are kinds of layers: its block → patterns of keys.

Part of :mod:`.old_optim_space`. Of a key that several match the last counts, as in a study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["KINDS_OF_OPTIM"]

_EMBED = ["*time_embed.*", "*label_emb.*"]
_CONVOLUTIONS = [
    "*.in_layers.2.*", "*.out_layers.3.*", "*.skip_connection.*", "*.op.*", "*.conv.*",
    "*input_blocks.0.0.*", "*diffusion_model.out.2.*",
]  # fmt: skip
_NORMS = ["*.in_layers.0.*", "*.out_layers.0.*", "*diffusion_model.out.0.*", "*.norm.*"]
_ATTENTION = {
    "UNET_SELF_ATTN_QKV": ["*.attn1.to_[qkv].*"],
    "UNET_SELF_ATTN_PROJ": ["*.attn1.to_out.*"],
    "UNET_CROSS_ATTN_Q": ["*.attn2.to_q.*"],
    "UNET_CROSS_ATTN_KV": ["*.attn2.to_[kv].*"],
    "UNET_CROSS_ATTN_PROJ": ["*.attn2.to_out.*"],
    "UNET_ATTN_FF": ["*.ff.*"],
    "UNET_ATTN_NORM": ["*.norm[123].*"],
    "UNET_RES_CONV_NORM": [
        *_CONVOLUTIONS, *_NORMS, "*.emb_layers.*", "*.proj_in.*", "*.proj_out.*",
    ],
    "UNET_EMBED": _EMBED,
}  # fmt: skip
_TYPES = {
    "UNET_ATTN": ["*.attn[12].*", "*.ff.*", "*.proj_in.*", "*.proj_out.*"],
    "UNET_RES": ["*.emb_layers.*"],
    "UNET_CONV": _CONVOLUTIONS,
    "UNET_NORM": [*_NORMS, "*.norm[123].*"],
    "UNET_EMBED": _EMBED,
}
_PARTS = {
    "DOWN0": "input_blocks.[12]", "DOWN1": "input_blocks.[45]", "DOWN2": "input_blocks.[78]",
    "MID": "middle_block", "UP2": "output_blocks.[012]", "UP1": "output_blocks.[345]",
    "UP0": "output_blocks.[678]",
}  # fmt: skip
_IN_PARTS = {
    "RES": (
        "*.in_layers.2.*", "*.out_layers.3.*", "*.emb_layers.*", "*.proj_in.*", "*.proj_out.*",
        "*.conv.*",
    ),
    "NORM": ("*.in_layers.0.*", "*.out_layers.0.*", "*.norm.*", "*.norm[123].*"),
    "ATTN_SELF": ("*.attn1.*",),
    "ATTN_CROSS": ("*.attn2.*",),
    "FF": ("*.ff.*",),
    "SKIP": ("*.skip_connection.*",),
}  # fmt: skip
_LACKING = {
    ("DOWN0", "ATTN_SELF"), ("DOWN0", "ATTN_CROSS"), ("DOWN0", "FF"), ("DOWN0", "SKIP"),
    ("MID", "SKIP"), ("UP0", "ATTN_SELF"), ("UP0", "ATTN_CROSS"), ("UP0", "FF"),
}  # fmt: skip
_STRUCTURE = {
    "UNET_EMBED_TIME": ["*time_embed.*"], "UNET_EMBED_LABEL": ["*label_emb.*"],
    "UNET_CONV_INPUT": ["*input_blocks.0.0.*"], "UNET_CONV_OUTPUT": ["*diffusion_model.out.2.*"],
    "UNET_NORM_OUTPUT": ["*diffusion_model.out.0.*"],
    "UNET_DOWN0_CONV_DOWN": ["*input_blocks.3.0.op.*"],
    "UNET_DOWN1_CONV_DOWN": ["*input_blocks.6.0.op.*"],
    **{
        f"UNET_{part}_{kind}": [f"*{start}{pattern}" for pattern in patterns]
        for part, start in _PARTS.items()
        for kind, patterns in _IN_PARTS.items()
        if (part, kind) not in _LACKING
    },
}  # fmt: skip
"""Kinds of layers in each stage of the UNet."""
KINDS_OF_OPTIM: Mapping[str, Mapping[str, Sequence[str]]] = {
    "sdxl-attn_blocks": _ATTENTION, "sdxl-type_simple_blocks": _TYPES,
    "sdxl-type_structure_blocks": _STRUCTURE,
}  # fmt: skip
