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
    "HEAD",
    "OF_PICTURES",
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

OF_PICTURES = (
    "text_conditioner.", "connectors.",  # of Anima and LTX-2
    "condition_encoder.", "audio_tokenizer.", "audio_token_detokenizer.",  # of ACE-Step 1.5
)  # fmt: skip
"""Components that diffusers makes of parts of a diffusion model, whose names start so there."""
_BESIDE = {**dict.fromkeys(OF_PICTURES, "transformer."),
           "text_embedding_projection.": "model.diffusion_model."}  # fmt: skip
"""How keys of a diffusion model start that have no prefix → what the others have before theirs."""
_STARTS_BESIDE = tuple(_BESIDE)

_PREFIX = re.compile(
    r"(?P<picture>model\.diffusion_model\.|net\.|unet\.|transformer\.(?!resblocks\.|h\.|w[tp]e\."
    r"|ln_f\.|encoder\.|embedding\.(?!1\.)|word_embeddings|output_layer\.|rotary_pos_emb)"
    # AuraFlow, and HunyuanVideo as ComfyUI saves it; not the layers of a language model
    r"|model\.(?=double_layers\.|single_layers\.|init_x_linear\.|cond_seq_linear\.|register_tokens"
    r"|positional_encoding|t_embedder\.|modF\.|final_linear\.)"
    r"|model\.model\.(?=double_blocks\.|single_blocks\.|(?:img|txt|time|vector|guidance)_in\."
    r"|final_layer\.))"
    r"|(?P<control>control_model\.)"  # beside its model, as the first ControlNets were published
    r"|(?P<vae>first_stage_model\.|vae\.)"
    r"|(?P<text>cond_stage_model\.(?:transformer|model)\."
    r"|conditioner\.embedders\.\d+\.(?:transformer|model)\."
    r"|text_encoders\.[^.]+\.transformer\.(?:bert\.)?|text_encoder(?:_\d)?\.)"
)
"""How the keys of the parts of a whole checkpoint or folder start, by kind."""
OF_VAES = (
    r"encoder|decoder|quant_conv|post_quant_conv|loss"
    r"|conv[12]|bn|per_channel_statistics|latents?_(?:mean|std)"  # of Wan, Flux.2, LTX and Cosmos
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
        if kind in {"picture", "control"} or (not kind and "." in key):
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
    """Return which part a prefix is of: ``picture``, ``control``, ``vae``, ``text``, or nothing."""
    if prefix in {"model.", "model.model."}:
        return "picture"
    found = _PREFIX.match(prefix)
    return str(found.lastgroup) if found else ""


def parted(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return what is before the keys of each part → its tensors by their names in it."""
    parts: dict[str, dict[str, Tensor]] = {}
    beside: list[Tensor] = []
    for key, tensor in tensors.items():
        if key.startswith(_STARTS_BESIDE):
            beside.append(tensor)
            continue
        start = prefix_of(key)
        parts.setdefault(start, {})[key[len(start) :]] = tensor
    for tensor in beside:
        start = _BESIDE[tensor.key[: tensor.key.index(".") + 1]]
        parts.setdefault(start if start in parts else "", {})[tensor.key] = tensor
    return parts


def key_of(start: str, name: str) -> str:
    """Return the key of a tensor of a part; see :func:`parted`."""
    beside = name.startswith(_STARTS_BESIDE) and _BESIDE[name[: name.index(".") + 1]] == start
    return name if beside else start + name
