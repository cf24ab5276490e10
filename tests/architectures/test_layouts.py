"""Sixty true layouts of public checkpoints: what they are, and that their blocks are of use.

``data/layouts.json.gz`` has the keys and shapes of each at its true size; ``d_…`` are those of
diffusers and transformers, ``…_aio`` and ``…_incl`` have text encoders and VAE in the same file.
"""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from bmerge.architectures import builtin, detect, resolve
from bmerge.formats import TensorInfo

DATA = Path(__file__).parents[1] / "data" / "layouts.json.gz"
PREFIX = "model.diffusion_model."
NAMES = {
    "sd1": "sd1", "sd1_ema": "sd1", "sd1_inpaint": "sd1 inpainting",
    "sd1_pix2pix": "sd1 instruction editing", "sd1_nai": "sd1", "d_sd15_unet": "sd1", "sd2": "sd2",
    "sdxl": "sdxl", "sdxl_unet": "sdxl", "sdxl_unet_noprefix": "sdxl", "d_sdxl_unet": "sdxl",
    "sdxl_inpaint": "sdxl inpainting", "ssd1b": "sdxl SSD-1B", "sdxl_refiner": "sdxl-refiner",
    "sd3_medium": "sd3 medium", "sd3_medium_incl": "sd3 medium", "d_sd3": "sd3 medium",
    "sd35_medium": "sd3 3.5 medium", "sd35_large": "sd3 3.5 large", "d_sd35l": "sd3 3.5 large",
    "flux_dev": "flux", "flux_dev_bfl": "flux", "d_flux": "flux", "flux_schnell": "flux schnell",
    "flux_fill": "flux Fill", "flux2_dev": "flux2 dev", "d_flux2": "flux2 dev",
    "flux2_klein4b": "flux2 Klein 4B", "d_flux2_klein": "flux2 Klein 4B", "chroma": "chroma",
    "d_chroma": "chroma", "auraflow": "auraflow", "qwen_image": "qwen-image",
    "d_qwen": "qwen-image", "lumina2": "lumina2", "d_lumina2": "lumina2",
    "zimage_comfy": "z-image", "zimage_aio": "z-image", "d_zimage": "z-image",
    "hidream": "hidream", "d_hidream": "hidream", "wan21_t2v_14b": "wan text to video 14B",
    "wan21_t2v_1_3b": "wan text to video 1.3B", "wan21_comfy_prefixed": "wan text to video 14B",
    "d_wan": "wan text to video 14B", "wan21_i2v_14b": "wan 2.1 image to video",
    "wan22_ti2v_5b": "wan 2.2 text or image to video 5B", "ltxv_2b": "ltx-video 2B",
    "d_ltx": "ltx-video 2B", "hunyuan_video": "hunyuan-video", "d_hunyuanvideo": "hunyuan-video",
    "cosmos_predict2_2b": "cosmos-predict2 2B", "pixart_sigma": "pixart",
    "d_cogvideox": "cogvideox 2B",
    "d_clip_l": "clip", "d_clip_g": "clip", "d_t5xxl": "t5", "d_vae": "vae",
    "llama3_8b": "llama", "qwen2_7b": "llama",
}  # fmt: skip
SAME = [
    ("d_sd15_unet", "sd1"), ("d_sdxl_unet", "sdxl"), ("d_flux", "flux_dev"),
    ("d_sd3", "sd3_medium"), ("d_sd35l", "sd35_large"), ("d_chroma", "chroma"),
    ("d_flux2", "flux2_dev"),
    ("d_flux2_klein", "flux2_klein4b"), ("d_wan", "wan21_t2v_14b"), ("d_ltx", "ltxv_2b"),
    ("d_hunyuanvideo", "hunyuan_video"), ("d_lumina2", "lumina2"), ("d_zimage", "zimage_comfy"),
]  # fmt: skip
LARGE = {"sdxl": ("M00", "OUT00", "OUT01", "OUT02"), "clip": ("IN",)}
"""What supermerger's blocks of SDXL cannot help: its ten layers in one place are 16 % of the UNet,
and 31 % of that of SSD-1B. The embedding of CLIP-L's words is one tensor."""


@cache
def layouts():
    return json.loads(gzip.decompress(DATA.read_bytes()))


def table(name):
    """Return key → entry of the table of contents, as of an opened checkpoint."""
    file = Path("x.safetensors")
    found, offset = {}, 0
    for key, dtype, shape in layouts()[name]:
        size = math.prod(shape) * (8 if dtype == "I64" else 2)
        found[key] = TensorInfo(key, dtype, tuple(shape), file, offset, size)
        offset += size
    return found


def named(keys):
    architecture = detect(keys, builtin())
    return " ".join([architecture.id, ", ".join(architecture.variant)]).strip()


def of_picture_model(architecture, key):
    """Tell whether a key is not one of text encoders, VAE or copies for training."""
    block = architecture.block_of(key)
    others = ("cond_stage_model.", "conditioner.", "first_stage_model.", "model_ema.")
    return block not in {"CLIP", "CLIP_G", "T5", "LLM", "VAE"} and not key.startswith(others)


def sizes(architecture, keys):
    """Return block → share of the numbers of the picture model."""
    found = Counter()
    for key, info in keys.items():
        if of_picture_model(architecture, key):
            found[architecture.block_of(key)] += math.prod(info.shape)
    return {block: size / found.total() for block, size in found.items()}


def test_all_layouts_are_expected_to_be_something():
    assert set(NAMES) == set(layouts())


@pytest.mark.parametrize("name", NAMES)
def test_layout_is_named(name):
    assert named(table(name)) == NAMES[name]


@pytest.mark.parametrize("name", NAMES)
def test_small_copy_for_trying_out_has_the_same_name(name):
    keys = table(name)
    small = {
        key: replace(
            info,
            shape=tuple(max(4, extent // 64) if extent > 16 else extent for extent in info.shape),
        )
        for key, info in keys.items()
    }
    assert detect(small, builtin()).id == detect(keys, builtin()).id


@pytest.mark.parametrize("name", NAMES)
def test_only_what_cannot_be_divided_holds_more_than_15_percent(name):
    keys = table(name)
    architecture = detect(keys, builtin())
    shares = sizes(architecture, keys)
    assert set(shares) <= set(architecture.blocks)
    large = {block: share for block, share in shares.items() if share > 0.15}
    assert set(large) <= set(LARGE.get(architecture.id, ()))


@pytest.mark.parametrize("name", NAMES)
def test_layers_alone_are_in_numbered_blocks(name):
    """What no layer of the picture model has in its name is little."""
    keys = table(name)
    architecture = detect(keys, builtin())
    shares = sizes(architecture, keys)
    around = sum(shares.get(block, 0) for block in ("BASE", "IN", "OUT", "LM_HEAD"))
    assert around < (0.35 if architecture.id in {"clip", "llama"} else 0.14)


@pytest.mark.parametrize("prefix", ["", PREFIX, "net.", "model.model."])
@pytest.mark.parametrize(
    "name", [n for n in NAMES if NAMES[n] not in {"clip", "t5", "llama", "vae"}]
)
def test_prefix_changes_neither_name_nor_blocks(name, prefix):
    keys = table(name)
    architecture = detect(keys, builtin())
    picture = {
        key.removeprefix(PREFIX).removeprefix("net."): info
        for key, info in keys.items()
        if of_picture_model(architecture, key)
    }
    other = {prefix + key: info for key, info in picture.items()}
    found = detect(other, builtin())
    assert found.id == architecture.id
    assert found.variant == architecture.variant
    assert found.blocks == architecture.blocks
    for key in picture:
        assert found.block_of(prefix + key) == architecture.block_of(key)


@pytest.mark.parametrize(("one", "other"), SAME, ids=[one for one, _ in SAME])
def test_layout_of_diffusers_has_the_same_blocks_of_the_same_sizes(one, other):
    keys = [table(name) for name in (one, other)]
    first, second = (detect(each, builtin()) for each in keys)
    assert first.blocks == second.blocks
    shares = [sizes(first, keys[0]), sizes(second, keys[1])]
    assert shares[0].keys() == shares[1].keys()
    if "sd3" not in NAMES[one] and "z-image" not in NAMES[one]:  # which have other embedders
        for block, share in shares[0].items():
            assert share == pytest.approx(shares[1][block], rel=0.02, abs=0.002)


@pytest.mark.parametrize("name", ["sd2", "sdxl_refiner"])
def test_recipe_that_calls_it_sd1_keeps_its_meaning(name):
    keys = table(name)
    now, before = detect(keys, builtin()), resolve("sd1", keys, builtin())
    assert now.blocks == before.blocks
    assert now.lists == before.lists
    assert all(now.block_of(key) == before.block_of(key) for key in keys)


@pytest.mark.parametrize(
    ("name", "key", "variant"),
    [
        ("sdxl", "v_pred", "v-prediction"),
        ("sdxl_inpaint", "ztsnr", "inpainting, zero terminal SNR"),
        ("sdxl_unet", "edm_vpred.sigma_max", "EDM v-prediction"),
        ("wan21_t2v_14b", "vace_patch_embedding.weight", "VACE 14B"),
        ("qwen_image", "__index_timestep_zero__", "Edit 2511"),
    ],
)
def test_one_tensor_more_tells_a_variant(name, key, variant):
    keys = {**table(name), key: next(iter(table(name).values()))}
    assert ", ".join(detect(keys, builtin()).variant) == variant
