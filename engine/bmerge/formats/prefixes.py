"""What stands before the keys of each part of a model, in whole checkpoints and folders.

A whole checkpoint has a prefix before the keys of its diffusion model, its VAE and each text
encoder; which one depends on who wrote it, and a file of one part alone has none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from bmerge.formats.checkpoint import Checkpoint, Tensor

__all__ = [
    "ADAPTER",
    "CONDITIONER",
    "HEAD",
    "OF_VAES",
    "is_part_file",
    "key_of",
    "kind_of",
    "leading",
    "parted",
    "prefix_of",
]

HEAD = "text_model."
"""What text encoders of old files, and of new transformers, lack before their names."""

ADAPTER, CONDITIONER = "llm_adapter.", "text_conditioner."
"""A part of Anima's diffusion model, and the component of its own that diffusers makes of it."""
_COMPONENT = "transformer."
"""What that component lies beside."""

_PREFIX = re.compile(
    r"(?P<picture>model\.diffusion_model\.|net\.|unet\.|transformer\.(?!resblocks\.|h\.|w[tp]e\."
    r"|ln_f\.|encoder\.|embedding\.(?!1\.)|word_embeddings|output_layer\.|rotary_pos_emb)"
    # AuraFlow, and HunyuanVideo as ComfyUI saves it; not the layers of a language model
    r"|model\.(?=double_layers\.|single_layers\.|init_x_linear\.|cond_seq_linear\.|register_tokens"
    r"|positional_encoding|t_embedder\.|modF\.|final_linear\.)"
    r"|model\.model\.(?=double_blocks\.|single_blocks\.|(?:img|txt|time|vector|guidance)_in\."
    r"|final_layer\.))"
    r"|(?P<vae>first_stage_model\.|vae\.)"
    r"|(?P<text>cond_stage_model\.(?:transformer|model)\."
    r"|conditioner\.embedders\.\d+\.(?:transformer|model)\."
    r"|text_encoders\.[^.]+\.transformer\.(?:bert\.)?|text_encoder(?:_\d)?\.)"
)
"""How the keys of the parts of a whole checkpoint or folder start, by kind."""
OF_VAES = (
    r"encoder|decoder|quant_conv|post_quant_conv|loss"
    r"|conv[12]|bn|per_channel_statistics|latents_(?:mean|std)"  # of Wan, Flux.2 and LTX
)
"""How the keys of a VAE start in a file of its own, as a pattern."""
_BARE = (
    rf"(?:{OF_VAES}|model_ema|text_model|text_projection|embeddings|final_layer_norm|shared"
    r"|transformer\.resblocks|token_embedding|ln_final|enc|token_embd)\."
)
"""How the keys of a VAE or a text encoder start in a file of its own."""


def leading(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """Return the model that others go by: the first that is more than a VAE or a text encoder."""
    found = (each for each in checkpoints if not is_part_file(each.tensors))
    return next(found, checkpoints[0])


def is_part_file(keys: Collection[str]) -> bool:
    """Tell whether a file holds nothing but a VAE or text encoders, by its keys."""
    found = False
    for key in keys:
        kind = kind_of(prefix_of(key)) or ("bare" if re.match(_BARE, key) else "")
        if kind == "picture" or (not kind and "." in key):
            return False
        found = found or bool(kind)
    return found


@lru_cache(maxsize=1 << 16)
def prefix_of(key: str) -> str:
    """Return how the keys of a tensor's part start, or nothing if its file does not say it."""
    found = _PREFIX.match(key)
    return found[0] if found else ""


@lru_cache(maxsize=256)
def kind_of(prefix: str) -> str:
    """Return which part a prefix is of: ``picture``, ``vae`` or ``text``; nothing for none."""
    if prefix in {"model.", "model.model."}:
        return "picture"
    found = _PREFIX.match(prefix)
    return str(found.lastgroup) if found else ""


def parted(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return what is before the keys of each part → its tensors by their names in it."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith(CONDITIONER):
            start, name = _COMPONENT, ADAPTER + key.removeprefix(CONDITIONER)
        else:
            start = prefix_of(key)
            name = key[len(start) :]
        parts.setdefault(start, {})[name] = tensor
    return parts


def key_of(start: str, name: str) -> str:
    """Return the key of a tensor of a part; see :func:`parted`."""
    if start == _COMPONENT and name.startswith(ADAPTER):
        return CONDITIONER + name.removeprefix(ADAPTER)
    return start + name
