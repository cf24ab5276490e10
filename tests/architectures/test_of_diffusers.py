"""The classes of diffusers by what bmerge calls their models: relatives are not taken for them."""

from __future__ import annotations

import diffusers
import pytest
import torch

from bmerge.architectures import builtin, detect
from bmerge.formats import TensorInfo
from bmerge.formats.layouts import in_layout

SMALL = {"num_layers": 2, "num_single_layers": 2, "depth": 2, "num_refiner_layers": 1,
         "n_layers": 2, "n_refiner_layers": 1, "num_hidden_layers": 2}  # fmt: skip
NAMES = {
    "WanTransformer3DModel": "wan", "WanVACETransformer3DModel": "wan",
    "SkyReelsV2Transformer3DModel": "wan", "AnyFlowTransformer3DModel": "wan AnyFlow",
    "HeliosTransformer3DModel": "helios", "FluxTransformer2DModel": "flux",
    "FluxControlNetModel": "generic", "SD3Transformer2DModel": "sd3",
    "SD3ControlNetModel": "generic", "QwenImageTransformer2DModel": "qwen-image",
    "QwenImageControlNetModel": "generic", "NucleusMoEImageTransformer2DModel": "generic",
    "PixArtTransformer2DModel": "generic", "AllegroTransformer3DModel": "generic",
    "SanaTransformer2DModel": "sana", "SanaWMTransformer3DModel": "generic",
    "CogVideoXTransformer3DModel": "cogvideox", "LTXVideoTransformer3DModel": "ltx-video",
    "HunyuanVideoTransformer3DModel": "hunyuan-video", "MochiTransformer3DModel": "mochi",
    "HunyuanVideoFramepackTransformer3DModel": "hunyuan-video FramePack",
    "CosmosTransformer3DModel": "cosmos1 7B", "UNetMotionModel": "generic",
    "I2VGenXLUNet": "generic", "UNet3DConditionModel": "generic",
    "UNet2DConditionModel": "sd1", "LongCatImageTransformer2DModel": "longcat-image",
    "OvisImageTransformer2DModel": "ovis-image", "Kandinsky5Transformer3DModel": "kandinsky5",
    "ErnieImageTransformer2DModel": "ernie-image", "Ideogram4Transformer2DModel": "ideogram4",
    "JoyImageEditTransformer3DModel": "joyimage", "StableCascadeUNet": "stable-cascade stage C",
    "MiniMaxH3Transformer3DModel": "minimax-h3", "Flux3Transformer2DModel": "flux3",
    "QwenImage21Transformer2DModel": "qwen-image-2.1", "CogView4Transformer2DModel": "cogview4",
    "GlmImageTransformer2DModel": "cogview4 GLM-Image", "SanaVideoTransformer3DModel": "generic",
    "CogView3PlusTransformer2DModel": "cogview4", "SanaControlNetModel": "generic",
    "AutoencoderKLWan": "wan-vae", "AutoencoderKLQwenImage": "wan-vae",
    "AutoencoderKLHunyuanVideo": "vae",
}  # fmt: skip
"""Class → what its models are called, with a variant where it is what tells it; PixArt as its
class has it is not one that was published: it lacks the projection of captions."""
SETTINGS = {
    "HunyuanVideoFramepackTransformer3DModel": {
        "has_image_proj": True, "has_clean_x_embedder": True,
    },
    "AllegroTransformer3DModel": {"caption_channels": 64},
}  # fmt: skip


def table_of(name):
    """Return the table of contents of a small model of a class, without weights."""
    cls = getattr(diffusers, name)
    known = cls.__init__.__code__.co_varnames
    settings = {key: value for key, value in SMALL.items() if key in known}
    with torch.device("meta"):
        model = cls(**settings, **SETTINGS.get(name, {}))
    found, offset = {}, 0
    for key, value in model.state_dict().items():
        size = 2 * value.numel()
        found[key] = TensorInfo(key, "BF16", tuple(value.shape), "x", offset, size)
        offset += size
    return found


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", NAMES)
def test_model_of_a_class_is_called_by_its_name_or_by_none(name):
    expected, _, variant = NAMES[name].partition(" ")
    found = detect(table_of(name), builtin())
    assert found.id.partition(":")[0] == expected
    assert variant in ", ".join(found.variant)


def test_vae_of_wan_has_the_same_blocks_in_both_layouts():
    theirs = table_of("AutoencoderKLWan")
    own = in_layout(theirs, "original")
    assert own.keys() != theirs.keys()
    first, second = detect(theirs, builtin()), detect(own, builtin())
    assert first.id == second.id == "wan-vae"
    assert first.blocks == second.blocks
    shares = []
    for architecture, tensors in ((first, theirs), (second, own)):
        sizes = dict.fromkeys(architecture.blocks, 0)
        for key, tensor in tensors.items():
            sizes[architecture.block_of(key)] += tensor.numel
        shares.append(sizes)
    assert shares[0] == shares[1]
    assert all(shares[0].values())
    assert max(shares[0].values()) < 0.15 * sum(shares[0].values())
