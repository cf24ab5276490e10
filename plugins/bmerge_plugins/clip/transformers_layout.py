"""Reads CLIP weights with the transformers library's names of tensors into open_clip's.

OpenAI's own models and PickScore are published so. The two differ in names, in the queries, keys
and values of attention (three matrices or one), and in that projections are transposed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["read_transformers"]

_MARK = "vision_model.embeddings.class_embedding"
_WHOLE: Mapping[str, str] = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "logit_scale": "logit_scale",
}
_TRANSPOSED: Mapping[str, str] = {
    "visual_projection.weight": "visual.proj",
    "text_projection.weight": "text_projection",
}
_PREFIXES: Mapping[str, str] = {
    "vision_model.pre_layrnorm.": "visual.ln_pre.",
    "vision_model.post_layernorm.": "visual.ln_post.",
    "text_model.final_layer_norm.": "ln_final.",
}
_LAYER = re.compile(r"(vision|text)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_TRUNKS = {"vision": "visual.transformer.resblocks", "text": "transformer.resblocks"}
_PARTS: Mapping[str, str] = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def read_transformers(path: Path) -> dict[str, Tensor] | None:
    """Return a model's tensors by open_clip's names.

    Args:
        path: any file of weights.

    Returns:
        None if the file is not in this layout; then it is left unread.
    """
    if path.suffix != ".safetensors":
        return None
    from safetensors import safe_open
    from safetensors.torch import load_file

    with safe_open(path, framework="pt") as file:
        if _MARK not in file.keys():  # noqa: SIM118  it is not a mapping
            return None
    return _renamed(load_file(path))


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    import torch

    renamed: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if key in _WHOLE:
            renamed[_WHOLE[key]] = tensor.squeeze() if key == "logit_scale" else tensor
        elif key in _TRANSPOSED:
            renamed[_TRANSPOSED[key]] = tensor.T.contiguous()
        elif layer := _LAYER.fullmatch(key):
            trunk, number, part, kind = layer.groups()
            block = f"{_TRUNKS[trunk]}.{number}"
            if part in _PARTS:
                renamed[f"{block}.{_PARTS[part]}.{kind}"] = tensor
            elif part == "self_attn.q_proj":
                three = [tensors[key.replace("q_proj", f"{x}_proj")] for x in "qkv"]
                renamed[f"{block}.attn.in_proj_{kind}"] = torch.cat(three)
        else:
            for prefix, ours in _PREFIXES.items():
                if key.startswith(prefix):
                    renamed[ours + key[len(prefix) :]] = tensor
    return renamed
