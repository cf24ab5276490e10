"""What kind of layer a tensor is of, by the words of its key that all model code has in common."""

from __future__ import annotations

import functools
import itertools
import re

__all__ = ["LAYERS", "layer_of"]

_KINDS = {
    "modulation": r"\w*(?:modulation|adaln|ada_ln|scale_shift_table)\w*|mod|img_mod|txt_mod|lin",
    "norm": r"\w*norm\w*|ln(?:_\w+)?|\w*_ln|in_layers\.0|out_layers\.0|gamma",
    "cross-attention": r"attn2|\w*cross_?attn\w*|\w*cross_?attention",
    "attention": r"\w*attn\w*|\w*attention\d?|qkv|[qkv]|to_[qkv]|q_proj|k_proj|v_proj",
    "feed-forward": r"ff|ff_\w+|ffn|mlp|\w*_mlp|\w*feed_?forward\w*|fc\d|linear[12]|wi|wi_\d|wo",
    "embedding": r"\w*embed\w*|\w*_emb|emb_layers|\w*_embedder|shared|img_in|txt_in|time_in"
    r"|vector_in|guidance_in|pos_emb\w*",
    "convolution": r"\w*conv\w*|in_layers|out_layers|skip_connection|nin_shortcut|op"
    r"|input_blocks\.0|upsample\w*|downsample\w*|resnets|residual",
    "projection": r"\w*proj\w*|to_out|out|head|final_layer|text_projection",
}
LAYERS = (*_KINDS, "other")
"""Kinds of layers; the first that a key has a word of is its own, the words nearest to the end
of the key going before."""
_WORDS = tuple(map(re.compile, _KINDS.values()))


def layer_of(key: str) -> str:
    """Return the kind of layer that a tensor is of.

    Attention goes before the projections in it, a norm before the attention that it belongs to.
    """
    path = key.lower()
    parts = path.split(".")
    pairs = [f"{one}.{other}" for one, other in itertools.pairwise(parts)]
    return LAYERS[min(map(_first, (*parts, *pairs)))]


@functools.lru_cache(1 << 14)
def _first(word: str) -> int:
    """Return the place of the first kind that has a word."""
    return next((at for at, words in enumerate(_WORDS) if words.fullmatch(word)), len(_WORDS))
