"""What stands before the keys of each part of a model, in whole checkpoints and folders.

A whole checkpoint has a prefix before the keys of its diffusion model, its VAE and each text
encoder; which one depends on who wrote it, and a file of one part alone has none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import cache, lru_cache

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

_PREFIXES = {
    "picture": (
        r"model\.diffusion_model\.", r"net\.", r"unet\.",
        (r"transformer\.(?!resblocks\.|h\.|w[tp]e\.|ln_f\.|encoder\.|embedding\.(?!1\.)"
        r"|word_embeddings|output_layer\.|rotary_pos_emb)"),
        # AuraFlow, and HunyuanVideo as ComfyUI saves it; not the layers of a language model
        (r"model\.(?=double_layers\.|single_layers\.|init_x_linear\.|cond_seq_linear\."
        r"|register_tokens|positional_encoding|t_embedder\.|modF\.|final_linear\.)"),
        (r"model\.model\.(?=double_blocks\.|single_blocks\."
        r"|(?:img|txt|time|vector|guidance)_in\.|final_layer\.)"),
    ),
    "control": (r"control_model\.",),  # beside its model, as the first ControlNets were published
    "vae": (r"first_stage_model\.", r"vae\."),
    "text": (
        r"cond_stage_model\.(?:transformer|model)\.",
        r"conditioner\.embedders\.\d+\.(?:transformer|model)\.",
        r"text_encoders\.[^.]+\.transformer\.(?:bert\.)?", r"text_encoder(?:_\d)?\.",
    ),
}  # fmt: skip
"""How the keys of the parts of a whole checkpoint or folder start, as patterns, by kind."""
_FIRST_WORDS = tuple(
    {
        each.partition("\\")[0].partition("(")[0]
        for patterns in _PREFIXES.values()
        for each in patterns
    }
)
"""How they all begin, which tells most keys of other files from them without a pattern."""
_OF_LANGUAGE_TOO = "transformer."
"""One of them, with which some keys of language models start as well."""
OF_VAES = (
    "encoder", "decoder", "quant_conv", "post_quant_conv", "loss",
    # of Wan, Flux.2, LTX and Cosmos
    "conv1", "conv2", "bn", "per_channel_statistics",
    "latent_mean", "latent_std", "latents_mean", "latents_std",
)  # fmt: skip
"""First words of the keys of a VAE in a file of its own."""
_BARE = tuple(
    f"{word}."
    for word in (
        *OF_VAES, "model_ema", "text_model", "text_projection", "embeddings", "final_layer_norm",
        "shared", "transformer.resblocks", "token_embedding", "ln_final", "enc", "token_embd",
    )
)  # fmt: skip
"""How the keys of a VAE or a text encoder start in a file of its own."""


def leading(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """Return the model that others go by: the first that is more than a VAE or a text encoder."""
    found = (each for each in checkpoints if not is_part_file(each.tensors))
    return next(found, checkpoints[0])


def is_part_file(keys: Collection[str]) -> bool:
    """Tell whether a file holds nothing but a VAE or text encoders, by its keys."""
    found = False
    for key in keys:
        kind = kind_of(prefix_of(key)) or ("bare" if key.startswith(_BARE) else "")
        if kind in {"picture", "control"} or (not kind and "." in key):
            return False
        found = found or bool(kind)
    return found


@lru_cache(maxsize=1 << 16)
def prefix_of(key: str) -> str:
    """Return how the keys of a tensor's part start, or nothing if its file does not say it."""
    found = _prefix().match(key) if key.startswith(_FIRST_WORDS) else None
    return found[0] if found else ""


@lru_cache(maxsize=256)
def kind_of(prefix: str) -> str:
    """Return which part a prefix is of: ``picture``, ``control``, ``vae``, ``text``, or nothing."""
    if prefix in {"model.", "model.model."}:
        return "picture"
    found = _prefix().match(prefix) if prefix else None
    return str(found.lastgroup) if found else ""


@cache
def _prefix() -> re.Pattern[str]:
    """Return the pattern of all, for which merges of models without prefixes need not wait."""
    kinds = (f"(?P<{kind}>{'|'.join(patterns)})" for kind, patterns in _PREFIXES.items())
    return re.compile("|".join(kinds))


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
    if _OF_LANGUAGE_TOO in parts:  # what is before all of a diffusion model is before this as well
        within = [name for name in parts.get("", {}) if name.startswith(_OF_LANGUAGE_TOO)]
        for name in within:
            tensor = parts[""].pop(name)
            parts[_OF_LANGUAGE_TOO][name.removeprefix(_OF_LANGUAGE_TOO)] = tensor
        if within and not parts[""]:
            del parts[""]
    for tensor in beside:
        start = _BESIDE[tensor.key[: tensor.key.index(".") + 1]]
        parts.setdefault(start if start in parts else "", {})[tensor.key] = tensor
    return parts


def key_of(start: str, name: str) -> str:
    """Return the key of a tensor of a part; see :func:`parted`."""
    beside = name.startswith(_STARTS_BESIDE) and _BESIDE[name[: name.index(".") + 1]] == start
    return name if beside else start + name
