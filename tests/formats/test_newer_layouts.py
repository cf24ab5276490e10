"""Layouts of newer models, against the functions that diffusers itself converts them with."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from diffusers.loaders import single_file_utils as oracle
from diffusers.models.transformers.transformer_minimax_h3 import (
    MiniMaxH3RotaryPosEmbed as RotaryOfH3,
)
from safetensors.numpy import load_file, save_file

from bmerge.architectures import builtin, detect
from bmerge.formats import open_checkpoint
from bmerge.formats.layouts import in_layout, layout_of
from layouts import by_diffusers, values

CASCADE = {
    "conditioning_dim": 8, "clip_text_in_channels": 8, "clip_text_pooled_in_channels": 8,
    "clip_image_in_channels": 8,
}  # fmt: skip
ATTENTIVE = ("SDCascadeResBlock", "SDCascadeTimestepBlock")
STAGE_C = {
    **CASCADE, "block_out_channels": (8, 8), "num_attention_heads": (2, 2), "patch_size": 1,
    "down_num_layers_per_block": (2, 2), "up_num_layers_per_block": (2, 2),
    "switch_level": (False,),
}  # fmt: skip
STAGE_B = {
    "conditioning_dim": 8, "clip_text_pooled_in_channels": 8, "block_out_channels": (8,) * 4,
    "num_attention_heads": (0, 0, 2, 2), "effnet_in_channels": 16, "pixel_mapper_in_channels": 3,
    "block_types_per_layer": (ATTENTIVE,) * 2 + ((*ATTENTIVE, "SDCascadeAttnBlock"),) * 2,
    "down_num_layers_per_block": (1,) * 4, "up_num_layers_per_block": (1,) * 4,
    "down_blocks_repeat_mappers": (1,) * 4, "up_blocks_repeat_mappers": (3, 3, 2, 2),
    "dropout": (0.0,) * 4, "self_attn": True, "kernel_size": 3, "patch_size": 2, "in_channels": 4,
}  # fmt: skip


def minimax(checkpoint):
    return oracle.convert_minimax_h3_transformer_checkpoint_to_diffusers(checkpoint, {})


def sana(checkpoint):
    unused = {"pos_embed": torch.zeros(1), "y_embedder.y_embedding": torch.zeros(1)}
    return oracle.convert_sana_transformer_to_diffusers({**checkpoint, **unused})


def unet(checkpoint):
    """Convert a UNet that diffusers expects under a prefix."""
    prefixed = {f"model.diffusion_model.{key}": value for key, value in checkpoint.items()}
    settings = {"layers_per_block": 1, "addition_embed_type": "text_time"}
    return oracle.convert_ldm_unet_checkpoint(prefixed, settings)


KOALA = {
    "layers_per_block": 1, "block_out_channels": (4, 8, 16), "norm_num_groups": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 8, "attention_head_dim": 4, "use_linear_projection": True,
    "addition_embed_type": "text_time", "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 8,
}  # fmt: skip
SMALL_KOALA = {"transformer_layers_per_block": [1, 2, 5], "mid_block_type": None}
ANIMATE = {
    "num_attention_heads": 2, "attention_head_dim": 16, "text_dim": 8, "freq_dim": 8,
    "ffn_dim": 16, "num_layers": 2, "image_dim": 8, "motion_encoder_size": 512,
    "face_encoder_hidden_dim": 32, "face_encoder_num_heads": 2, "inject_face_latents_blocks": 1,
    "motion_encoder_dim": 8, "motion_style_dim": 8,
}  # fmt: skip
CASES = {
    "koala 1B": ("UNet2DConditionModel",
                 {**KOALA, "transformer_layers_per_block": [1, 2, 6]}, "original", unet),
    "koala 700M": ("UNet2DConditionModel", {**KOALA, **SMALL_KOALA}, "original", unet),
    "wan Animate": ("WanAnimateTransformer3DModel", ANIMATE, "original",
                    oracle.convert_wan_transformer_to_diffusers),
    "wan Animate 2": ("WanAnimate2Transformer3DModel",
                      {"num_layers": 2}, "original",
                      oracle.convert_wan_animate_2_transformer_to_diffusers),
    "sana": ("SanaTransformer2DModel", {"num_layers": 2}, "original", sana),
    "flux3": ("Flux3Transformer2DModel", {}, "original",
              oracle.convert_flux3_transformer_checkpoint_to_diffusers),
    "qwen-image-2.1": ("QwenImage21Transformer2DModel", {"num_layers": 2}, "comfy",
                       oracle.convert_qwen_image21_transformer_checkpoint_to_diffusers),
    "minimax-h3": ("MiniMaxH3Transformer3DModel", {"num_layers": 2}, "original", minimax),
    "stable-cascade stage C": ("StableCascadeUNet", STAGE_C, "original",
                               oracle.convert_stable_cascade_unet_single_file_to_diffusers),
    "stable-cascade stage B": ("StableCascadeUNet", STAGE_B, "original",
                               oracle.convert_stable_cascade_unet_single_file_to_diffusers),
}  # fmt: skip


def stored(path, arrays):
    save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, path)
    return dict(open_checkpoint(path).tensors)


@pytest.mark.parametrize("name", CASES)
def test_original_layout_is_what_diffusers_converts_from(tmp_path, name):
    cls, settings, layout, convert = CASES[name]
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in getattr(diffusers, cls)(**settings).state_dict().items()}
    random = np.random.default_rng(1)
    arrays = {
        key: random.standard_normal([max(4, n // 128) if n > 16 else n for n in shape], "f4")
        for key, shape in shapes.items()
    }
    theirs = stored(tmp_path / "a.safetensors", arrays)
    assert layout_of(theirs) == "diffusers"
    original = {key: values(tensor) for key, tensor in in_layout(theirs, layout).items()}
    converted = by_diffusers(convert, original)
    assert converted.keys() == arrays.keys()
    assert all(np.array_equal(converted[key], arrays[key]) for key in arrays)
    own = stored(tmp_path / "b.safetensors", original)
    assert layout_of(own) == layout
    back = in_layout(own, "diffusers")
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(values(back[key]), arrays[key]) for key in arrays)
    first, second = (detect(tensors, builtin()) for tensors in (own, theirs))
    assert " ".join([first.id, *first.variant]) == name
    assert (first.id, first.variant, first.blocks) == (second.id, second.variant, second.blocks)


def test_what_diffusers_computes_of_minimax_h3_is_written_for_comfyui(bmerge, tmp_path):
    with torch.device("meta"):
        model = diffusers.MiniMaxH3Transformer3DModel(num_layers=2)
    random = np.random.default_rng(1)
    arrays = {
        key: random.standard_normal([max(4, n // 256) if n > 16 else n for n in value.shape], "f4")
        for key, value in model.state_dict().items()
    }
    theirs, own = tmp_path / "theirs.safetensors", tmp_path / "own.safetensors"
    save_file(arrays, theirs)
    for layout in ("original", "comfy"):
        assert bmerge("convert", theirs, "--layout", layout, "-o", own, "--force").status == 0
        written = load_file(own)
        assert written["rope.inv_freq"].tolist() == RotaryOfH3().inv_freq.tolist()
    back = tmp_path / "back.safetensors"
    assert bmerge("convert", own, "--layout", "diffusers", "-o", back).status == 0
    assert load_file(back).keys() == arrays.keys()
    merged = tmp_path / "merged.safetensors"
    called = bmerge("merge", "weighted_sum", own, theirs, "--alpha", "0.5", "-o", merged)
    assert (called.status, load_file(merged).keys()) == (0, written.keys())
    assert "not in" not in called.err
