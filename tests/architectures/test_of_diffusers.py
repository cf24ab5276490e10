"""The classes of diffusers by what bmerge calls their models: relatives are not taken for them."""

from __future__ import annotations

import inspect
import re
from collections import Counter, defaultdict

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
    "FluxControlNetModel": "flux-controlnet", "SD3Transformer2DModel": "sd3",
    "SD3ControlNetModel": "sd3-controlnet", "QwenImageTransformer2DModel": "qwen-image",
    "QwenImageControlNetModel": "qwen-image-controlnet",
    "NucleusMoEImageTransformer2DModel": "nucleus-image",
    "PixArtTransformer2DModel": "generic", "AllegroTransformer3DModel": "allegro",
    "SanaTransformer2DModel": "sana", "SanaWMTransformer3DModel": "sana-video WM",
    "CogVideoXTransformer3DModel": "cogvideox", "LTXVideoTransformer3DModel": "ltx-video",
    "HunyuanVideoTransformer3DModel": "hunyuan-video", "MochiTransformer3DModel": "mochi",
    "HunyuanVideoFramepackTransformer3DModel": "hunyuan-video FramePack",
    "CosmosTransformer3DModel": "cosmos1 7B", "UNetMotionModel": "generic",
    "I2VGenXLUNet": "modelscope I2VGen-XL", "UNet3DConditionModel": "modelscope",
    "UNet2DConditionModel": "sd1", "LongCatImageTransformer2DModel": "longcat-image",
    "OvisImageTransformer2DModel": "ovis-image", "Kandinsky5Transformer3DModel": "kandinsky5",
    "ErnieImageTransformer2DModel": "ernie-image", "Ideogram4Transformer2DModel": "ideogram4",
    "JoyImageEditTransformer3DModel": "joyimage", "StableCascadeUNet": "stable-cascade stage C",
    "MiniMaxH3Transformer3DModel": "minimax-h3", "Flux3Transformer2DModel": "flux3",
    "QwenImage21Transformer2DModel": "qwen-image-2.1", "CogView4Transformer2DModel": "cogview4",
    "GlmImageTransformer2DModel": "cogview4 GLM-Image",
    "SanaVideoTransformer3DModel": "sana-video", "BriaTransformer2DModel": "bria",
    "BriaFiboTransformer2DModel": "bria Fibo", "BriaFibo2Transformer2DModel": "fibo2",
    "PRXTransformer2DModel": "prx", "MotifVideoTransformer3DModel": "motif-video",
    "Kandinsky6Transformer3DModel": "kandinsky6", "Kandinsky6SRTransformer3DModel": "kandinsky6-sr",
    "Kandinsky3UNet": "kandinsky3", "LatteTransformer3DModel": "latte",
    "LuminaNextDiT2DModel": "lumina-next", "Lumina2Transformer2DModel": "lumina2",
    "OmniGenTransformer2DModel": "omnigen", "EasyAnimateTransformer3DModel": "easyanimate",
    "Cosmos3OmniTransformer": "cosmos3", "ConsisIDTransformer3DModel": "cogvideox ConsisID",
    "DreamLiteUNetModel": "dreamlite", "ZImageTransformer2DModel": "z-image",
    "StableAudioDiTModel": "stable-audio", "StableAudio3DiTModel": "stable-audio 3",
    "AceStepTransformer1DModel": "ace-step 1.5", "LongCatAudioDiTTransformer": "longcat-audio",
    "MiniMaxMusic3Transformer1DModel": "minimax-music3",
    "JoyImageEditPlusTransformer3DModel": "joyimage",
    "SanaWMLTX2RefinerTransformer3DModel": "ltx-2", "ChronoEditTransformer3DModel": "wan",
    "CogView3PlusTransformer2DModel": "cogview4", "SanaControlNetModel": "sana-controlnet",
    "CosmosControlNetModel": "cosmos-controlnet", "AutoencoderKLLTX2Video": "ltx-vae-095",
    "AutoencoderKLWan": "wan-vae", "AutoencoderKLQwenImage": "wan-vae",
    "AutoencoderKLHunyuanVideo": "vae",
}  # fmt: skip
"""Class → what its models are called, with a variant where it is what tells it; PixArt as its
class has it is not one that was published: it lacks the projection of captions."""
SETTINGS = {
    "HunyuanVideoFramepackTransformer3DModel": {
        "has_image_proj": True, "has_clean_x_embedder": True,
    },
    "LatteTransformer3DModel": {
        "in_channels": 4, "patch_size": 2, "caption_channels": 4096, "norm_type": "ada_norm_single",
        "cross_attention_dim": 1152, "attention_head_dim": 72, "num_embeds_ada_norm": 1000,
        "norm_elementwise_affine": False,
    },
    "LuminaNextDiT2DModel": {"num_kv_heads": 8},
    "WanVACETransformer3DModel": {"vace_layers": [0, 1]},
    "OmniGenTransformer2DModel": {"rope_scaling": {"long_factor": [1], "short_factor": [1]}},
    "EasyAnimateTransformer3DModel": {"in_channels": 16, "out_channels": 16, "patch_size": 2},
    "ConsisIDTransformer3DModel": {"is_train_face": True, "in_channels": 32},
}  # fmt: skip
WHOLE = {
    "BriaTransformer2DModel": {"num_layers": 8, "num_single_layers": 28, "in_channels": 4},
    "BriaFiboTransformer2DModel": {"num_layers": 8, "num_single_layers": 38, "in_channels": 48},
    "BriaFibo2Transformer2DModel": {}, "PRXTransformer2DModel": {},
    "NucleusMoEImageTransformer2DModel": {}, "AllegroTransformer3DModel": {},
    "MotifVideoTransformer3DModel": {
        "num_attention_heads": 12, "num_layers": 12, "num_single_layers": 24,
        "num_decoder_layers": 8, "image_embed_dim": 1152, "text_embed_dim": 2560,
    },
    "Kandinsky6Transformer3DModel": {
        "time_dim": 512, "model_dim": 1792, "ff_dim": 7168, "num_text_blocks": 2,
        "num_visual_blocks": 32, "axes_dims": (16, 24, 24), "model_dim_a": 896, "time_dim_a": 512,
        "ff_dim_a": 3584, "axes_dims_a": (16, 24, 24),
    },
    "Kandinsky6SRTransformer3DModel": {}, "Kandinsky3UNet": {}, "LuminaNextDiT2DModel": {},
    "LatteTransformer3DModel": {"num_layers": 28}, "SanaVideoTransformer3DModel": {},
    "SanaWMTransformer3DModel": {}, "OmniGenTransformer2DModel": {}, "DreamLiteUNetModel": {},
    "EasyAnimateTransformer3DModel": {}, "Cosmos3OmniTransformer": {},
    "ConsisIDTransformer3DModel": {"num_attention_heads": 48, "num_layers": 42},
    "StableAudioDiTModel": {}, "StableAudio3DiTModel": {}, "AceStepTransformer1DModel": {},
    "LongCatAudioDiTTransformer": {}, "MiniMaxMusic3Transformer1DModel": {},
    "UNet3DConditionModel": {}, "I2VGenXLUNet": {}, "CosmosControlNetModel": {},
}  # fmt: skip
"""Class → what its published models have other than the class's own defaults."""
LARGE = {"DreamLiteUNetModel": {"OUT02": 0.17}}
"""Blocks of a UNet that hold more than 15 %, and how much."""
FAMILIES = {"kandinsky3": 3, "dreamlite": 9, "modelscope": 15}
"""How many names of layers a block has at most, where it has several."""


def table_of(name, settings=SMALL):
    """Return the table of contents of a model of a class, without weights; of few layers."""
    cls = getattr(diffusers, name)
    known = inspect.signature(cls.__init__).parameters
    sizes = {key: value for key, value in settings.items() if key in known}
    with torch.device("meta"):
        model = cls(**SETTINGS.get(name, {}) | sizes)
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


@pytest.mark.parametrize("name", WHOLE)
def test_blocks_have_each_key_once_and_none_is_large(name):
    tensors = table_of(name, WHOLE[name])
    architecture = detect(tensors, builtin())
    assert " ".join([architecture.id, *architecture.variant]).startswith(NAMES[name])
    sizes, layers = Counter(), defaultdict(set)
    for key, tensor in tensors.items():
        block = architecture.block_of(key)
        sizes[block] += tensor.numel
        layers[block].add(re.match(r"(?:.*?\.)??\d+\.|", key)[0])
    parts = {"CLIP", "LLM", "T5", "BASE", "VAE"}
    assert set(sizes) == {block for block in architecture.blocks if block not in parts}
    shares = {block: size / sizes.total() for block, size in sizes.items()}
    limits = LARGE.get(name, {})
    assert {b: s for b, s in shares.items() if s > limits.get(b, 0.15)} == {}
    inner = [found for block, found in layers.items() if block not in {"IN", "OUT"}]
    assert max(map(len, inner)) <= FAMILIES.get(architecture.id, 1)


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
