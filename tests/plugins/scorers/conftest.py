"""A CLIP model of a megabyte or two with random weights, on disk in every form that is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}


@dataclass(frozen=True)
class TinyClip:
    """A small open_clip model and where it is.

    Args:
        network: the model itself, for an independent computation.
        preprocess: its own transform.
        folder: of ``tiny.safetensors``, ``hps.pt``, ``transformers.safetensors`` and
            ``local/``, all with the same weights.
    """

    name: str
    network: Any
    preprocess: Any
    folder: Path


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> Iterator[TinyClip]:
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    (folder / "bmerge-tiny-clip.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / "bmerge-tiny-clip.json")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, _, preprocess = open_clip.create_model_and_transforms("bmerge-tiny-clip")
        for parameter in network.parameters():  # random biases, too
            parameter.data += 0.05 * torch.randn_like(parameter)
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / "tiny.safetensors")
    torch.save({"epoch": 3, "state_dict": tensors}, folder / "hps.pt")
    save_file(in_transformers_layout(tensors), folder / "transformers.safetensors")
    local = folder / "local"
    local.mkdir()
    (local / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {}})
    )
    save_file(tensors, local / "open_clip_model.safetensors")
    yield TinyClip("bmerge-tiny-clip", network.eval(), preprocess, folder)
    torch.set_num_threads(threads)


def in_transformers_layout(tensors: dict[str, Any]) -> dict[str, Any]:
    """Name tensors as the transformers library's CLIPModel does, by its own documentation."""
    out: dict[str, Any] = {"logit_scale": tensors["logit_scale"]}
    for ours, theirs in (("visual.", "vision_model."), ("", "text_model.")):
        for number in range(2):
            block = f"{ours}transformer.resblocks.{number}."
            layer = f"{theirs}encoder.layers.{number}."
            for kind in ("weight", "bias"):
                parts = tensors[f"{block}attn.in_proj_{kind}"].chunk(3)
                for letter, part in zip("qkv", parts, strict=True):
                    out[f"{layer}self_attn.{letter}_proj.{kind}"] = part.contiguous()
                for mine, other in (
                    ("attn.out_proj", "self_attn.out_proj"),
                    ("ln_1", "layer_norm1"),
                    ("ln_2", "layer_norm2"),
                    ("mlp.c_fc", "mlp.fc1"),
                    ("mlp.c_proj", "mlp.fc2"),
                ):
                    out[f"{layer}{other}.{kind}"] = tensors[f"{block}{mine}.{kind}"]
    for kind in ("weight", "bias"):
        out[f"vision_model.pre_layrnorm.{kind}"] = tensors[f"visual.ln_pre.{kind}"]
        out[f"vision_model.post_layernorm.{kind}"] = tensors[f"visual.ln_post.{kind}"]
        out[f"text_model.final_layer_norm.{kind}"] = tensors[f"ln_final.{kind}"]
    vision, text = "vision_model.embeddings.", "text_model.embeddings."
    out[f"{vision}class_embedding"] = tensors["visual.class_embedding"]
    out[f"{vision}patch_embedding.weight"] = tensors["visual.conv1.weight"]
    out[f"{vision}position_embedding.weight"] = tensors["visual.positional_embedding"]
    out[f"{text}token_embedding.weight"] = tensors["token_embedding.weight"]
    out[f"{text}position_embedding.weight"] = tensors["positional_embedding"]
    out["visual_projection.weight"] = tensors["visual.proj"].T.contiguous()
    out["text_projection.weight"] = tensors["text_projection"].T.contiguous()
    return out
