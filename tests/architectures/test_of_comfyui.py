"""The models that ComfyUI knows by what bmerge calls them, and the blocks that they have."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from safetensors.numpy import load_file

from bmerge import merge
from bmerge.architectures import builtin, detect
from bmerge.architectures.components import components_of
from bmerge.architectures.patterns import Contents
from bmerge.testing import write_checkpoint
from comfyui import LAYOUTS, shapes_of, table_of

NAMES = {
    "sd21_unclip_h": "sd2 unCLIP H", "sd21_unclip_l": "sd2 unCLIP L", "vega": "sdxl Vega",
    "koala700": "koala 700M", "koala1b": "koala 1B", "svd": "svd", "sv3d_u": "svd SV3D u",
    "sv3d_p": "svd SV3D p", "sd_x4": "sd2 x4 upscaler", "cascade_c": "stable-cascade stage C",
    "cascade_c_lite": "stable-cascade stage C", "cascade_b": "stable-cascade stage B",
    "cascade_b_lite": "stable-cascade stage B", "lotus": "sd2 Lotus",
    "pixart_alpha": "pixart alpha", "hydit": "hunyuan-dit 1.2", "hydit1": "hunyuan-dit 1.1",
    "sdxl_ip2p": "sdxl instruction editing", "flux_dev": "flux",
    "flux_canny": "flux Depth or Canny", "ovis": "ovis-image", "longcat": "longcat-image",
    "flux2_klein9b": "flux2 Klein 9B", "lens": "lens", "mochi": "mochi",
    "ltxv_13b": "ltx-video 13B", "ltx2_19b": "ltx-2", "ltx2_5": "ltx-2 2.5", "ltx2_3": "ltx-2 2.3",
    "minimax_h3": "minimax-h3", "hv_i2v": "hunyuan-video image to video",
    "hv_sky": "hunyuan-video SkyReels image to video", "hy_image21": "hunyuan-video Image 2.1",
    "hy_image21_distilled": "hunyuan-video Image 2.1, distilled",
    "hy_image21_refiner": "hunyuan-video Image 2.1 refiner", "hv15": "hunyuan-video 1.5",
    "hv15_sr": "hunyuan-video 1.5 super resolution, distilled", "cosmos1_7b": "cosmos1 7B",
    "cosmos1_7b_i2v": "cosmos1 7B video to world", "cosmos1_14b": "cosmos1 14B",
    "cosmos_p2_14b": "cosmos-predict2 14B", "cosmos_p2_i2v": "cosmos-predict2 2B video to world",
    "anima": "anima", "newbie": "lumina2 NewBie", "zimage_omni": "z-image Omni",
    "zimage_pixel": "z-image Zeta-Chroma", "pixeldit": "pixeldit", "pid": "pixeldit PiD",
    "pid15": "pixeldit PiD", "wan_flf": "wan 2.1 first and last frame",
    "wan22_i2v": "wan 2.2 image to video", "wan22_fun_control": "wan 2.2 Fun Control",
    "wan_funcontrol": "wan 2.1 Fun Control", "wan_funinp13": "wan 2.1 image to video 1.3B",
    "wan_camera": "wan 2.1 Fun Camera", "wan22_camera": "wan 2.2 Fun Camera",
    "wan_vace14": "wan VACE 14B", "wan_vace13": "wan VACE 1.3B", "wan_humo": "wan HuMo",
    "wan_humo17": "wan HuMo", "wan_s2v": "wan sound to video", "wan_animate": "wan Animate",
    "wan_scail": "wan SCAIL", "wan_scail2": "wan SCAIL 2", "wandancer": "wan WanDancer",
    "trellis2": "trellis2", "hy3d": "hunyuan3d", "hy3d_mini": "hunyuan3d 2 mini",
    "hy3d21": "hunyuan3d 2.1", "hidream_o1": "hidream-o1", "radiance": "chroma Radiance",
    "seedvr2_3b": "seedvr2 3B", "seedvr2_7b": "seedvr2 7B", "ace": "ace-step",
    "ace15": "ace-step 1.5", "stable_audio1": "stable-audio", "omnigen2": "omnigen2",
    "boogu": "boogu", "ideogram4": "ideogram4", "krea2": "krea2", "mage_flow": "mage-flow",
    "qwen_layered": "qwen-image Layered", "joyimage": "joyimage",
    "k5_lite": "kandinsky5 Video Lite", "k5_pro": "kandinsky5 Video Pro",
    "k5_image": "kandinsky5 Image Lite", "ernie": "ernie-image", "cog_2b": "cogvideox 2B",
    "cog_5b": "cogvideox 5B", "cog_5b_i2v": "cogvideox image to video", "cog15": "cogvideox 1.5",
    "cog15_i2v": "cogvideox 1.5 image to video", "cog_inpaint": "cogvideox inpainting",
}  # fmt: skip
LARGE = {
    "vega": {"M00": 0.17, "OUT00": 0.17, "OUT01": 0.17, "OUT02": 0.18},
    "sdxl_ip2p": {"M00": 0.17, "OUT00": 0.16, "OUT01": 0.16, "OUT02": 0.16},
    "sd_x4": {"M00": 0.16},
}
"""Blocks of supermerger that hold more than 15 % of a UNet, and how much."""


def test_all_models_are_expected_to_be_something():
    assert set(NAMES) == {name for name in LAYOUTS if not name.startswith("vae_")}


@pytest.mark.parametrize("name", NAMES)
def test_model_is_named_under_all_prefixes_with_the_same_blocks(name):
    shapes = shapes_of(name)
    bare = detect(table_of(shapes), builtin())
    assert " ".join([bare.id, ", ".join(bare.variant)]).strip() == NAMES[name]
    for prefix in ("model.diffusion_model.", "net.", "transformer."):
        found = detect(table_of(shapes, prefix), builtin())
        assert (found.id, found.variant, found.blocks) == (bare.id, bare.variant, bare.blocks)
        assert all(found.block_of(prefix + key) == bare.block_of(key) for key in shapes)


@pytest.mark.parametrize("name", NAMES)
def test_no_block_is_large(name):
    shapes = shapes_of(name)
    architecture = detect(table_of(shapes), builtin())
    sizes = Counter()
    for key, shape in shapes.items():
        sizes[architecture.block_of(key)] += math.prod(shape)
    shares = {block: size / sizes.total() for block, size in sizes.items()}
    assert set(shares) <= set(architecture.blocks)
    limits = LARGE.get(name, {})
    assert {b: s for b, s in shares.items() if s > limits.get(b, 0.15)} == {}
    assert sum(shares.get(block, 0) for block in ("IN", "OUT")) < 0.14


@pytest.mark.parametrize(
    ("name", "block", "inside"),
    [
        ("koala1b", "OUT00T05", ("output_blocks.0.1.transformer_blocks.5.",)),
        ("cosmos1_7b", "L07", ("blocks.block7.",)),
        ("k5_image", "T01", ("text_transformer_blocks.1.",)),
        ("cog_2b", "OUT", ("norm_final.", "norm_out.", "proj_out.")),
        ("omnigen2", "R01", ("ref_image_refiner.1.",)),
        ("wan_vace13", "V14", ("vace_blocks.14.",)),
    ],
)
def test_weight_of_one_block_changes_its_tensors_alone(tmp_path, name, block, inside):
    files = []
    for seed in range(2):
        random = np.random.default_rng(seed)
        tensors = {
            key: random.standard_normal([min(extent, 4) for extent in shape], "f4")
            for key, shape in shapes_of(name).items()
        }
        files.append(write_checkpoint(tmp_path / f"{seed}.safetensors", tensors))
    out = tmp_path / "out.safetensors"
    architecture = NAMES[name].split()[0]
    merge("weighted_sum", *files, output=out, alpha={block: 1, "*": 0}, architecture=architecture)
    first, second, merged = map(load_file, (*files, out))
    changed = {key for key in merged if not np.array_equal(merged[key], first[key])}
    assert changed == {key for key in first if key.startswith(inside)}
    assert all(np.array_equal(merged[key], second[key]) for key in changed)


SPEC = {
    "sd21_unclip_h": "stable-diffusion-v2-unclip-h",
    "sd21_unclip_l": "stable-diffusion-v2-unclip-l",
    "sdxl_ip2p": "stable-diffusion-xl-v1-edit", "svd": "stable-video-diffusion-img2vid-v1",
    "cascade_b": "stable-cascade-v1-stage-b", "cascade_c": "stable-cascade-v1-stage-c",
    "flux_dev": "Flux.1-dev", "flux_canny": "Flux.1-dev/depth", "ovis": "ovis",
    "longcat": "longcat-image", "flux2_klein9b": "flux.2-klein-9b", "lens": "lens",
    "mochi": "genmo-mochi-1", "ltxv_13b": "lightricks-ltx-video",
    "ltx2_19b": "lightricks-ltx-video-2", "ltx2_3": "lightricks-ltx-video-2-3",
    "ltx2_5": "lightricks-ltx-video-2-5", "minimax_h3": "minimax-h3",
    "hv_i2v": "hunyuan-video-i2v", "hv_sky": "hunyuan-video-skyreels-i2v",
    "hy_image21_distilled": "hunyuan-image-2_1",
    "hy_image21_refiner": "hunyuan-image-2_1-refiner",
    "hv15": "hunyuan-video-1_5", "hv15_sr": "hunyuan-video-1_5-sr",
    "cosmos1_7b": "nvidia-cosmos-1-7b-text2world",
    "cosmos1_7b_i2v": "nvidia-cosmos-1-7b-video2world",
    "cosmos1_14b": "nvidia-cosmos-1-14b-text2world",
    "cosmos_p2_14b": "nvidia-cosmos-predict2-t2i-14b", "anima": "anima",
    "zimage_omni": "z-image", "zimage_pixel": "zeta-chroma", "pixeldit": "pixeldit", "pid": "pid",
    "wan_flf": "wan-2_1-flf2v-14b", "wan22_i2v": "wan-2_2-image2video-14b",
    "wan_funinp13": "wan-2_1-image2video-1_3b", "wan_vace14": "wan-2_1-vace-14b",
    "wan_vace13": "wan-2_1-vace-1_3b", "hidream_o1": "hidream-o1", "radiance": "chroma-radiance",
    "seedvr2_3b": "seedvr2", "ace15": "ace-step-1_5", "omnigen2": "omnigen-2", "boogu": "boogu",
    "ideogram4": "ideogram-4", "krea2": "krea-2", "mage_flow": "mage-flow",
    "qwen_layered": "qwen-image", "k5_lite": "kandinsky5-video-lite",
    "k5_pro": "kandinsky5-video-pro", "k5_image": "kandinsky5-image-lite", "ernie": "ernie-image",
}  # fmt: skip
"""Model → id in ModelSpec: those of the specification, then those that SwarmUI looks up, which it
does without regard to case."""


@pytest.mark.parametrize("name", SPEC)
def test_modelspec_has_the_id_that_is_looked_up(name):
    contents = Contents(table_of(shapes_of(name)))
    spec = detect(contents.keys, builtin()).modelspec_of(contents)
    assert spec["modelspec.architecture"].lower() == SPEC[name].lower()


@pytest.mark.parametrize(
    ("name", "needed"),
    [("chroma", True), ("radiance", False), ("zimage_pixel", False), ("hidream_o1", False)],
)
def test_model_that_works_on_pixels_needs_no_vae(name, needed):
    shapes = shapes_of("radiance" if name == "chroma" else name)
    kept = {key: shape for key, shape in shapes.items() if name != "chroma" or "nerf" not in key}
    assert detect(table_of(kept), builtin()).needs_vae is needed


@pytest.mark.parametrize("name", ["svd", "sv3d_u", "hy3d", "hy3d21", "seedvr2_3b"])
def test_model_that_sees_and_does_not_read_needs_no_text_encoder(name):
    assert detect(table_of(shapes_of(name)), builtin()).text_encoders == 0


@pytest.mark.parametrize(
    ("name", "needed"),
    [("svd", True), ("sv3d_u", True), ("hy3d", True), ("hy3d21", True), ("wan_flf", True),
     ("seedvr2_3b", False)],
)  # fmt: skip
def test_model_that_sees_needs_an_image_encoder(name, needed):
    contents = Contents(table_of(shapes_of(name)))
    assert detect(contents.keys, builtin()).needs_image_encoder(contents) is needed


def test_parts_of_stable_cascade_and_stable_audio_are_told_apart():
    starts = ("model.diffusion_model.", "vae.", "clip_l_vision.", "pretransform.model.")
    kinds = ("picture model", "VAE", "image encoder", "VAE")
    shapes = shapes_of("cascade_c")
    keys = table_of(shapes, starts[0]) | {start + "x.weight": None for start in starts[1:]}
    architecture = detect(keys, builtin())
    found = components_of(keys, architecture)
    named = [starts[0] + next(iter(shapes)), *(start + "x.weight" for start in starts[1:])]
    assert [found[key] for key in named] == list(kinds)
    assert [architecture.block_of(key) for key in named[1:]] == ["VAE", "CLIP_G", "VAE"]
