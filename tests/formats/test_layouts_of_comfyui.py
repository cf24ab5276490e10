"""ComfyUI's names of tensors against those of diffusers' classes, at the models' true shapes."""

from __future__ import annotations

import re

import diffusers
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from bmerge.architectures import builtin, detect
from bmerge.formats import open_checkpoint
from bmerge.formats.layouts import in_layout, layout_of
from comfyui import shapes_of, table_of
from layouts import values

COG = {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True}
REFINER = {"in_channels": 128, "num_attention_heads": 26, "patch_size": (1, 1, 1)}
IMAGE_VAE = {
    "in_channels": 3, "out_channels": 3, "latent_channels": 64, "sample_size": 384,
    "block_out_channels": (128, 256, 512, 512, 1024, 1024), "layers_per_block": 2,
    "spatial_compression_ratio": 32, "scaling_factor": 0.75,
}  # fmt: skip
HUNYUAN_DIT = {
    "num_attention_heads": 16, "attention_head_dim": 88, "in_channels": 4, "patch_size": 2,
    "mlp_ratio": 4.3637, "num_layers": 40, "learn_sigma": True, "cross_attention_dim": 1024,
    "sample_size": 128, "hidden_size": 1408,
}  # fmt: skip
UNCLIP = {
    "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True,
    "cross_attention_dim": 1024, "class_embed_type": "projection",
    "projection_class_embeddings_input_dim": 2048,
}  # fmt: skip
CASCADE = {"conditioning_dim": 2048, "clip_text_in_channels": 1280, "clip_image_in_channels": 768}
STAGE_C = {
    **CASCADE, "block_out_channels": (2048,) * 2, "num_attention_heads": (32,) * 2, "patch_size": 1,
    "down_num_layers_per_block": (8, 24), "up_num_layers_per_block": (24, 8),
    "switch_level": (False,), "in_channels": 16, "out_channels": 16,
}  # fmt: skip
PLAIN = ("SDCascadeResBlock", "SDCascadeTimestepBlock")
STAGE_B = {
    "conditioning_dim": 1280, "clip_text_pooled_in_channels": 1280, "effnet_in_channels": 16,
    "block_out_channels": (320, 640, 1280, 1280), "num_attention_heads": (0, 0, 20, 20),
    "pixel_mapper_in_channels": 3, "dropout": (0.0,) * 4, "timestep_conditioning_type": ("sca",),
    "block_types_per_layer": (PLAIN,) * 2 + ((*PLAIN, "SDCascadeAttnBlock"),) * 2,
    "down_num_layers_per_block": (2, 6, 28, 6), "up_num_layers_per_block": (6, 28, 6, 2),
    "down_blocks_repeat_mappers": (1,) * 4, "up_blocks_repeat_mappers": (3, 3, 2, 2),
    "kernel_size": 3, "patch_size": 2, "in_channels": 4, "out_channels": 4,
}  # fmt: skip
MODELS = [
    ("cascade_c", "StableCascadeUNet", STAGE_C), ("cascade_b", "StableCascadeUNet", STAGE_B),
    ("zimage_omni", "ZImageTransformer2DModel", {"siglip_feat_dim": 1152}),
    ("svd", "UNetSpatioTemporalConditionModel", {"num_attention_heads": (5, 10, 20, 20)}),
    ("sd21_unclip_h", "UNet2DConditionModel", UNCLIP),
    ("ovis", "OvisImageTransformer2DModel", {}),
    ("hydit", "HunyuanDiT2DModel", {**HUNYUAN_DIT, "use_style_cond_and_image_meta_size": False}),
    ("hydit1", "HunyuanDiT2DModel", HUNYUAN_DIT),
    ("cosmos1_7b", "CosmosTransformer3DModel", {}),
    ("cog_2b", "CogVideoXTransformer3DModel", {}),
    ("cog15_i2v", "CogVideoXTransformer3DModel",
     {**COG, "in_channels": 32, "ofs_embed_dim": 512, "patch_size_t": 2, "patch_bias": False}),
    ("ideogram4", "Ideogram4Transformer2DModel", {}),
    ("longcat", "LongCatImageTransformer2DModel", {"num_layers": 10, "num_single_layers": 20}),
    ("hv15", "HunyuanVideo15Transformer3DModel", {}),
    ("hv15_sr", "HunyuanVideo15Transformer3DModel", {"in_channels": 98, "use_meanflow": True}),
    ("hy_image21_distilled", "HunyuanImageTransformer2DModel",
     {"guidance_embeds": True, "use_meanflow": True, "text_embed_2_dim": 1472}),
    ("hy_image21_refiner", "HunyuanImageTransformer2DModel",
     {**REFINER, "rope_axes_dim": (16, 56, 56)}),
    ("vae_hunyuan_video", "AutoencoderKLHunyuanVideo", {}),
    ("vae_hunyuan_image", "AutoencoderKLHunyuanImage", IMAGE_VAE),
    ("vae_hunyuan_refiner", "AutoencoderKLHunyuanImageRefiner", {}),
    ("vae_hunyuan_refiner", "AutoencoderKLHunyuanVideo15", {}),
]  # fmt: skip
SAME = [
    ("ernie", "ErnieImageTransformer2DModel",
     {"hidden_size": 4096, "num_attention_heads": 32, "num_layers": 36, "text_in_dim": 3072,
      "ffn_hidden_size": 12288}),
    ("joyimage", "JoyImageEditTransformer3DModel", {}),
    ("vae_cogvideox", "AutoencoderKLCogVideoX", {}),
]  # fmt: skip


def class_table(name, settings):
    """Return the table of contents of a model of a class, without weights."""
    with torch.device("meta"):
        model = getattr(diffusers, name)(**settings)
    return table_of({key: tuple(value.shape) for key, value in model.state_dict().items()})


def shapes(tensors):
    return {key: tensor.shape for key, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("name", "other", "settings"), MODELS, ids=[f"{n}-{c}" for n, c, _ in MODELS]
)
def test_each_layout_is_made_of_the_other(name, other, settings):
    """ComfyUI calls the norms of HunyuanVideo's attention weights now; what it reads are both."""
    comfy, theirs = table_of(shapes_of(name)), class_table(other, settings)
    assert layout_of(comfy) != layout_of(theirs) == "diffusers"
    assert shapes(in_layout(comfy, "diffusers")) == shapes(theirs)
    back = shapes(in_layout(theirs, layout_of(comfy)))
    assert {re.sub(r"norm\.scale$", "norm.weight", key): back[key] for key in back} == shapes(comfy)


@pytest.mark.parametrize("name", ["cascade_c", "cascade_c_lite", "cascade_b", "cascade_b_lite"])
def test_attention_of_stable_cascade_is_one_matrix_as_it_was_published(name):
    comfy = table_of(shapes_of(name))
    own = in_layout(comfy, "original")
    assert layout_of(own) == "original"
    fused = own["down_blocks.2.2.attention.attn.in_proj_weight" if "_b" in name else
                "down_blocks.0.2.attention.attn.in_proj_weight"]  # fmt: skip
    assert [piece.tensor.key.split(".")[-2] for piece in fused.pieces] == ["to_q", "to_k", "to_v"]
    assert shapes(in_layout(table_of(shapes(own)), "comfy")) == shapes(comfy)


@pytest.mark.parametrize(("name", "other", "settings"), SAME, ids=[name for name, _, _ in SAME])
def test_names_are_the_same(name, other, settings):
    assert shapes_of(name) == shapes(class_table(other, settings))


ONES = [
    ("vae_hunyuan_video", "decoder.up.3.block.0.conv1.conv.weight",
     "decoder.up_blocks.0.resnets.0.conv1.conv.weight"),
    ("vae_hunyuan_video", "encoder.down.1.downsample.conv.conv.bias",
     "encoder.down_blocks.1.downsamplers.0.conv.conv.bias"),
    ("vae_hunyuan_image", "decoder.up.1.upsample.conv.weight", "decoder.up_blocks.7.conv.weight"),
    ("vae_hunyuan_image", "encoder.down.3.block.1.norm2.weight",
     "encoder.down_blocks.10.norm2.weight"),
    ("vae_hunyuan_refiner", "decoder.up.1.block.2.conv2.conv.bias",
     "decoder.up_blocks.1.resnets.2.conv2.conv.bias"),
    ("hy_image21", "time_in.in_layer.bias", "time_guidance_embed.timestep_embedder.linear_1.bias"),
    ("hv15", "time_in.in_layer.bias", "time_embed.timestep_embedder.linear_1.bias"),
    ("hv15", "vision_in.proj.3.bias", "image_embedder.linear_2.bias"),
    ("cosmos1_7b", "blocks.block3.blocks.1.block.attn.to_q.1.weight",
     "transformer_blocks.3.attn2.norm_q.weight"),
    ("hydit", "blocks.3.norm2.bias", "blocks.3.norm3.bias"),
    ("hydit", "blocks.3.default_modulation.1.bias", "blocks.3.norm1.linear.bias"),
    ("hydit", "pooler.c_proj.bias", "time_extra_emb.pooler.c_proj.bias"),
    ("cog_2b", "blocks.3.ff_out.bias", "transformer_blocks.3.ff.net.2.bias"),
    ("ltx2_3", "audio_prompt_adaln_single.linear.bias", "audio_prompt_adaln.linear.bias"),
]  # fmt: skip
"""A model, a tensor of it as ComfyUI names it, and as the scripts of diffusers do; of those with
the same shape in other places."""


@pytest.mark.parametrize(("name", "here", "there"), ONES, ids=[f"{n}-{k}" for n, k, _ in ONES])
def test_tensor_has_the_name_of_the_converters(name, here, there):
    table = table_of(shapes_of(name))
    others = {key: tensor for key, tensor in table.items() if key != here}
    found, without = (shapes(in_layout(each, "diffusers")) for each in (table, others))
    assert found.keys() - without.keys() == {there}


def test_vae_of_cogvideox_counts_the_levels_of_its_decoder_from_the_other_end(tmp_path):
    """By the names in the script that diffusers converts it with."""
    model = diffusers.AutoencoderKLCogVideoX(block_out_channels=(4, 4, 8, 8), norm_num_groups=2)
    arrays = {key: value.numpy() for key, value in model.state_dict().items()}
    save_file(arrays, tmp_path / "a.safetensors")
    tensors = dict(open_checkpoint(tmp_path / "a.safetensors").tensors)
    original = in_layout(tensors, "original")
    names = {
        "decoder.up.3.block.1.norm1.conv_y.conv.weight":
            "decoder.up_blocks.0.resnets.1.norm1.conv_y.conv.weight",
        "decoder.up.1.upsample.conv.bias": "decoder.up_blocks.2.upsamplers.0.conv.bias",
        "encoder.down.2.block.0.nin_shortcut.weight":
            "encoder.down_blocks.2.resnets.0.conv_shortcut.weight",
        "encoder.mid.block_2.conv1.conv.weight": "encoder.mid_block.resnets.1.conv1.conv.weight",
    }  # fmt: skip
    for name, there in names.items():
        assert np.array_equal(values(original[name]), arrays[there]), name
    assert not [name for name in original if "_blocks" in name or "resnets" in name]
    assert shapes(in_layout(original, "diffusers")) == {k: v.shape for k, v in arrays.items()}


def test_vae_of_stable_video_diffusion_goes_over_time():
    """The names are those of ComfyUI's own class of it."""
    levels = (32, 64, 96, 96)
    sizes = {"block_out_channels": levels, "down_block_types": ("DownEncoderBlock2D",) * 4,
             "layers_per_block": 2}  # fmt: skip
    theirs = class_table("AutoencoderKLTemporalDecoder", {**sizes, "latent_channels": 4})
    assert layout_of(theirs) == "diffusers"
    original = in_layout(theirs, "original")
    assert original["decoder.conv_out.time_mix_conv.weight"].shape == (3, 3, 3, 1, 1)
    for name, there in {
        "decoder.conv_out.weight": "decoder.conv_out.weight",
        "decoder.mid.block_2.mix_factor": "decoder.mid_block.resnets.1.time_mixer.mix_factor",
        "decoder.mid.attn_1.q.bias": "decoder.mid_block.attentions.0.to_q.bias",
        "decoder.up.3.block.1.norm1.weight":
            "decoder.up_blocks.0.resnets.1.spatial_res_block.norm1.weight",
        "decoder.up.1.block.0.nin_shortcut.weight":
            "decoder.up_blocks.2.resnets.0.spatial_res_block.conv_shortcut.weight",
        "decoder.up.0.block.2.time_stack.in_layers.2.weight":
            "decoder.up_blocks.3.resnets.2.temporal_res_block.conv1.weight",
        "decoder.up.2.block.0.time_stack.out_layers.0.bias":
            "decoder.up_blocks.1.resnets.0.temporal_res_block.norm2.bias",
        "encoder.down.1.block.0.conv2.bias": "encoder.down_blocks.1.resnets.0.conv2.bias",
    }.items():  # fmt: skip
        assert original[name].offset == theirs[there].offset, name
    assert layout_of(original) == "original"
    assert shapes(in_layout(original, "diffusers")) == shapes(theirs)
    blocks = [detect(each, builtin()) for each in (theirs, original)]
    assert [each.id for each in blocks] == ["vae", "vae"]
    assert all(
        blocks[0].block_of(there) == blocks[1].block_of(name)
        for name, there in (("decoder.up.2.block.1.mix_factor",
                             "decoder.up_blocks.1.resnets.1.time_mixer.mix_factor"),
                            ("decoder.mid.block_1.mix_factor",
                             "decoder.mid_block.resnets.0.time_mixer.mix_factor"))
    )  # fmt: skip


@pytest.mark.parametrize("levels", [3, 4], ids=["LTX-2", "LTX-2.3"])
def test_vae_of_ltx2_is_told_from_that_of_ltx_video(levels):
    """The names are those of the script that diffusers converts it with."""
    sizes = {
        "latent_channels": 4, "block_out_channels": (8, 16, 32, 64), "layers_per_block": (1,) * 5,
        "decoder_block_out_channels": (8, 16, 16, 16)[:levels],
        "decoder_layers_per_block": (1,) * (levels + 1), "upsample_residual": (True,) * levels,
        "decoder_spatio_temporal_scaling": (True,) * levels, "upsample_factor": (2,) * levels,
        "decoder_inject_noise": (False,) * (levels + 1),
        "upsample_type": ("spatiotemporal",) * levels,
    }  # fmt: skip
    theirs = class_table("AutoencoderKLLTX2Video", sizes)
    original = in_layout(theirs, "original")
    assert {
        "decoder.up_blocks.0.res_blocks.0.conv1.conv.weight",
        f"decoder.up_blocks.{2 * levels}.res_blocks.0.conv1.conv.weight",
        "decoder.up_blocks.3.conv.conv.weight",
        "encoder.down_blocks.8.res_blocks.0.conv2.conv.bias",
        "encoder.down_blocks.7.conv.conv.weight",
        "per_channel_statistics.mean-of-means",
    } <= original.keys()
    assert not [name for name in original if "resnets" in name or "mid_block" in name]
    assert shapes(in_layout(original, "diffusers")) == shapes(theirs)


def test_gate_of_ovis_comes_after_what_it_is_of(tmp_path):
    """As the script has it by which diffusers converts the model."""
    random = np.random.default_rng(1)
    arrays = {
        key: random.standard_normal([max(4, extent // 512) for extent in shape], "f4")
        for key, shape in shapes_of("ovis").items()
        if not re.search(r"blocks\.[1-9]", key)
    }
    save_file(arrays, tmp_path / "a.safetensors")
    tensors = dict(open_checkpoint(tmp_path / "a.safetensors").tensors)
    found = {key: values(tensor) for key, tensor in in_layout(tensors, "diffusers").items()}
    for here, there in (("img_mlp", "ff"), ("txt_mlp", "ff_context")):
        up, gate = (arrays[f"double_blocks.0.{here}.{name}_proj.weight"] for name in ("up", "gate"))
        fused = found[f"transformer_blocks.0.{there}.net.0.proj.weight"]
        assert np.array_equal(fused, np.concatenate([up, gate]))
    shift, scale = np.split(arrays["final_layer.adaLN_modulation.1.bias"], 2)
    assert np.array_equal(found["norm_out.linear.bias"], np.concatenate([scale, shift]))
    save_file(found, tmp_path / "b.safetensors")
    theirs = dict(open_checkpoint(tmp_path / "b.safetensors").tensors)
    back = in_layout(theirs, "comfy")
    assert back.keys() == arrays.keys()
    assert all(np.array_equal(values(back[key]), arrays[key]) for key in arrays)
    own = in_layout(theirs, "original")
    renamed = {key.replace("semantic_", ""): tensor for key, tensor in own.items()}
    assert len(own.keys() - arrays.keys()) == 3
    assert all(np.array_equal(values(renamed[key]), arrays[key]) for key in arrays)


def test_model_that_only_looks_like_one_with_a_layout_has_none():
    assert layout_of(table_of(shapes_of("omnigen2"))) is None
