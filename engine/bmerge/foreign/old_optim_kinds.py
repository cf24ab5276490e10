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
KINDS_OF_OPTIM: Mapping[str, Mapping[str, Sequence[str]]] = {
    "sdxl-attn_blocks": _ATTENTION, "sdxl-type_simple_blocks": _TYPES,
}  # fmt: skip
