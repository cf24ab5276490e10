"""U-Nets that are only related to that of Stable Diffusion: names, blocks, and no layout of it."""

from __future__ import annotations

from collections import Counter

import pytest

from blocks import called, sizes_of_blocks
from bmerge.architectures import builtin, detect
from bmerge.formats.layouts import in_layout, other_layouts
from classes import shapes_of_class
from comfyui import table_of

CROSS = "SimpleCrossAttnDownBlock2D", "SimpleCrossAttnUpBlock2D"
SIMPLE = {
    "down_block_types": ("ResnetDownsampleBlock2D", *[CROSS[0]] * 3),
    "up_block_types": (*[CROSS[1]] * 3, "ResnetUpsampleBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "layers_per_block": 3,
    "attention_head_dim": 64, "resnet_time_scale_shift": "scale_shift",
}  # fmt: skip
IF = {
    **SIMPLE, "in_channels": 3, "out_channels": 6, "addition_embed_type": "text",
    "cross_attention_norm": "group_norm", "encoder_hid_dim": 4096,
    "encoder_hid_dim_type": "text_proj", "block_out_channels": (704, 1408, 2112, 2816),
    "cross_attention_dim": 2816,
}  # fmt: skip
IF_2 = {
    **IF, "in_channels": 6, "class_embed_type": "timestep", "cross_attention_dim": 1280,
    "block_out_channels": (160, 320, 640, 960, 1280), "layers_per_block": [2, 2, 3, 5, 5],
    "down_block_types": (*["ResnetDownsampleBlock2D"] * 3, *[CROSS[0]] * 2),
    "up_block_types": (*[CROSS[1]] * 2, *["ResnetUpsampleBlock2D"] * 3),
}  # fmt: skip
KANDINSKY = {
    **SIMPLE, "out_channels": 8, "block_out_channels": (384, 768, 1152, 1536),
    "cross_attention_dim": 768,
}  # fmt: skip
OF_TEXT = {"addition_embed_type": "text_image", "encoder_hid_dim": 1024,
           "encoder_hid_dim_type": "text_image_proj"}  # fmt: skip
OF_PICTURE = {"addition_embed_type": "image", "encoder_hid_dim": 1280,
              "encoder_hid_dim_type": "image_proj"}  # fmt: skip
HINT = {**OF_PICTURE, "addition_embed_type": "image_hint", "in_channels": 8}
SOUND = {
    "in_channels": 8, "out_channels": 8, "block_out_channels": (128, 256, 384, 640),
    "attention_head_dim": 8, "cross_attention_dim": ((None, 768, 1024),) * 4,
    "down_block_types": ("DownBlock2D", *["CrossAttnDownBlock2D"] * 3),
    "up_block_types": (*["CrossAttnUpBlock2D"] * 3, "UpBlock2D"),
}  # fmt: skip
XL = {
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816, "cross_attention_dim": 2048,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10),
    "num_attention_heads": (5, 10, 20), "ctrl_num_attention_heads": (1, 1, 2),
    "ctrl_block_out_channels": (32, 64, 128),
}  # fmt: skip
MODELS = {
    "deepfloyd-if": ("UNet2DConditionModel", IF),
    "deepfloyd-if upscaler": ("UNet2DConditionModel", IF_2),
    "kandinsky2 2.1": ("UNet2DConditionModel", KANDINSKY | OF_TEXT),
    "kandinsky2 2.2": ("UNet2DConditionModel", KANDINSKY | OF_PICTURE),
    "kandinsky2 2.2 inpainting": (
        "UNet2DConditionModel", KANDINSKY | OF_PICTURE | {"in_channels": 9},
    ),
    "kandinsky2 2.2 ControlNet": ("UNet2DConditionModel", KANDINSKY | HINT),
    "unclip-prior": ("PriorTransformer", {}),
    "audioldm2": ("AudioLDM2UNet2DConditionModel", SOUND),
    "controlnet-xs": ("ControlNetXSAdapter", {}),
    "controlnet-xs within its model": ("UNetControlNetXSModel", {}),
    "controlnet-xs SDXL within its model": ("UNetControlNetXSModel", XL),
}  # fmt: skip
OF_PIXELS = ("AttnDownBlock2D", "AttnUpBlock2D")
UNCONDITIONED = {
    "down_block_types": ("DownBlock2D", *[OF_PIXELS[0]] * 3), "layers_per_block": 2,
    "up_block_types": (*[OF_PIXELS[1]] * 3, "UpBlock2D"),
    "block_out_channels": (224, 448, 672, 896),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_unet_has_its_name_and_blocks_of_bounded_size(name):
    table = table_of(shapes_of_class(*MODELS[name]))
    found = detect(table, builtin())
    assert called(found) == name
    sizes = sizes_of_blocks(found, table)
    assert max(sizes.values()) <= 0.15 * sizes.total(), sizes.most_common(1)
    assert set(found.blocks) - set(sizes) <= {"BASE", "T5", "OUT", "VAE"}
    assert sizes.keys() <= set(found.blocks)


SMALL = {"layers_per_block": 1, "cross_attention_dim": 768}
IMAGE_VAE = {
    "in_channels": 3, "out_channels": 3, "latent_channels": 64, "layers_per_block": 2,
    "block_out_channels": (128, 256, 512, 512, 1024, 1024), "spatial_compression_ratio": 32,
    "sample_size": 384,
}  # fmt: skip
IN_TWO_LAYOUTS = {
    "bk-sdm Base": ("UNet2DConditionModel", SMALL),
    "bk-sdm Small": ("UNet2DConditionModel", {**SMALL, "mid_block_type": None}),
    "cogvideox-vae": ("AutoencoderKLCogVideoX", {}),
    "hunyuan-image-vae": ("AutoencoderKLHunyuanImage", IMAGE_VAE),
}
TINY = {
    **SMALL, "mid_block_type": None, "block_out_channels": (320, 640, 1280),
    "down_block_types": ["CrossAttnDownBlock2D"] * 3,
    "up_block_types": ["CrossAttnUpBlock2D"] * 3,
}  # fmt: skip


@pytest.mark.parametrize("name", IN_TWO_LAYOUTS)
def test_model_has_blocks_of_bounded_size_in_both_layouts(name):
    theirs = table_of(shapes_of_class(*IN_TWO_LAYOUTS[name]))
    own = in_layout(theirs, "original")
    assert in_layout(own, "diffusers").keys() == theirs.keys()
    blocks = []
    for table in (theirs, own):
        found = detect(table, builtin())
        assert called(found) == name
        blocks.append({tensor.offset: found.block_of(key) for key, tensor in table.items()})
    assert blocks[0] == blocks[1]
    held = Counter()
    for tensor in theirs.values():
        held[blocks[0][tensor.offset]] += tensor.nbytes
    assert max(held.values()) <= 0.15 * held.total(), held.most_common(1)
    assert set(found.blocks) - set(held) <= {"BASE", "M00", "M01"}


def test_layers_of_a_smaller_unet_are_numbered_as_comfyui_does():
    table = table_of(shapes_of_class(*IN_TWO_LAYOUTS["bk-sdm Base"]))
    own = in_layout(table, "original")
    theirs = {tensor.offset: key for key, tensor in table.items()}
    names = {
        "input_blocks.3.1.proj_in.weight": "down_blocks.1.attentions.0.proj_in.weight",
        "input_blocks.6.0.op.weight": "down_blocks.2.downsamplers.0.conv.weight",
        "output_blocks.1.1.conv.weight": "up_blocks.0.upsamplers.0.conv.weight",
        "output_blocks.5.2.conv.weight": "up_blocks.2.upsamplers.0.conv.weight",
        "output_blocks.7.1.proj_out.bias": "up_blocks.3.attentions.1.proj_out.bias",
        "output_blocks.4.0.out_layers.3.bias": "up_blocks.2.resnets.0.conv2.bias",
    }
    assert {name: theirs[own[name].offset] for name in names} == names


RELATED = {
    **MODELS,
    "of three levels": ("UNet2DConditionModel", TINY),
    "of no text": ("UNet2DModel", UNCONDITIONED),
}


@pytest.mark.parametrize("name", RELATED)
def test_unet_has_not_the_layouts_of_another(name):
    table = table_of(shapes_of_class(*RELATED[name]))
    assert [layout for layout, _ in other_layouts(table)] == []


def test_layers_of_sound_are_in_the_same_block_in_both_layouts():
    theirs = table_of(shapes_of_class(*MODELS["audioldm2"]))
    names = {"conv_in.weight": "input_blocks.0.0.weight"}
    for level in range(4):
        for layer, start in ((0, "down"), (1, "down"), (0, "up"), (1, "up"), (2, "up")):
            place = f"{start}_blocks.{level}"
            own = (f"input_blocks.{3 * level + layer + 1}" if start == "down"
                   else f"output_blocks.{3 * level + layer}")  # fmt: skip
            names[f"{place}.resnets.{layer}.norm1.weight"] = f"{own}.0.in_layers.0.weight"
            names |= {
                f"{place}.attentions.{3 * layer + n}.norm.weight": f"{own}.{n + 1}.norm.weight"
                for n in range(3)
            }
    names |= {"mid_block.attentions.2.norm.weight": "middle_block.3.norm.weight"}
    names = {there: here for there, here in names.items() if there in theirs}
    own = table_of({here: theirs[there].shape for there, here in names.items()})
    first, second = detect(theirs, builtin()), detect(own, builtin())
    assert second.id == "audioldm2"
    assert {there: first.block_of(there) for there in names} == {
        there: second.block_of(here) for there, here in names.items()
    }
    assert [layout for layout, _ in other_layouts(own)] == []


def test_unet_of_more_layers_than_stable_diffusion_has_is_not_called_so():
    names = [f"input_blocks.{i}.0.in_layers.0.weight" for i in range(1, 16)]
    names += [f"output_blocks.{i}.0.in_layers.0.weight" for i in range(16)]
    names += ["input_blocks.0.0.weight", "middle_block.1.qkv.weight"]
    table = table_of(dict.fromkeys(names, (8, 8)))
    assert detect(table, builtin()).id.startswith("generic")
    assert [layout for layout, _ in other_layouts(table)] == []
