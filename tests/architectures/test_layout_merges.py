"""A weight for one block of a true layout changes exactly that block's tensors."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bmerge import convert, merge, open_checkpoint
from bmerge.architectures import builtin, detect
from bmerge.testing import write_checkpoint

DATA = Path(__file__).parents[1] / "data" / "layouts.json.gz"


@cache
def layouts():
    return json.loads(gzip.decompress(DATA.read_bytes()))


def small_file(path, name, seed):
    """Write a small copy of a layout: extents above 16 divided by 64, at least 4."""
    random = np.random.default_rng(seed)
    tensors = {}
    for key, dtype, shape in layouts()[name]:
        smaller = [max(4, extent // 64) if extent > 16 else extent for extent in shape]
        values = random.standard_normal(smaller, "f4")
        whole = np.arange(np.prod(smaller, dtype=int)).reshape(smaller)  # of positions
        tensors[key] = whole if dtype == "I64" else values
    return write_checkpoint(path, tensors)


@pytest.mark.parametrize(
    ("name", "block", "inside"),
    [
        ("flux_dev_bfl", "D03", ("double_blocks.3.",)),
        ("d_flux", "S37", ("single_transformer_blocks.37.",)),
        ("sd3_medium_incl", "T5", ("text_encoders.t5xxl.",)),
        ("sd3_medium_incl", "IN23", ("model.diffusion_model.joint_blocks.23.",)),
        ("zimage_aio", "C01", ("model.diffusion_model.context_refiner.1.",)),
        ("zimage_aio", "LLM", ("text_encoders.qwen3_4b.",)),
        ("d_wan", "OUT", ("proj_out.", "scale_shift_table")),
        ("cosmos_predict2_2b", "L07", ("net.blocks.7.",)),
        ("d_sdxl_unet", "OUT02", ("up_blocks.0.resnets.2.", "up_blocks.0.attentions.2.",
                                  "up_blocks.0.upsamplers.")),
        ("llama3_8b", "LM_HEAD", ("lm_head.",)),
    ],
)  # fmt: skip
def test_weight_of_one_block_changes_its_tensors_alone(bmerge, tmp_path, name, block, inside):
    a, b = (small_file(tmp_path / f"{n}.safetensors", name, i) for i, n in enumerate("ab"))
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", "weighted_sum", a, b, "--alpha", f"{block}=1,*=0", "-o", out)
    assert called.status == 0, called.err
    first, second, merged = map(load_file, (a, b, out))
    assert merged.keys() == first.keys()
    changed = {key for key in merged if not np.array_equal(merged[key], first[key])}
    assert changed == {key for key in first if key.startswith(inside)}
    assert all(np.array_equal(merged[key], second[key]) for key in changed)


def test_list_of_61_weights_is_that_of_supermerger_for_flux(bmerge, tmp_path):
    a, b = (
        small_file(tmp_path / f"{n}.safetensors", "flux_dev_bfl", i) for i, n in enumerate("ab")
    )
    out = tmp_path / "out.safetensors"
    weights = [0.0] * 61
    weights[3 + 2] = weights[3 + 19 + 37] = weights[2] = 1.0  # D02, S37, IN
    called = bmerge(
        "merge", "weighted_sum", a, b, "--alpha", ",".join(map(str, weights)), "-o", out
    )
    assert called.status == 0, called.err
    first, merged = map(load_file, (a, out))
    changed = {key.partition(".weight")[0] for key in merged if (merged[key] != first[key]).any()}
    tops = {key.split(".")[0] for key in changed}
    assert tops == {
        "double_blocks", "single_blocks", "img_in", "txt_in", "time_in", "vector_in", "guidance_in",
    }  # fmt: skip
    layers = {".".join(key.split(".")[:2]) for key in changed if "_blocks" in key}
    assert layers == {"double_blocks.2", "single_blocks.37"}


@pytest.mark.parametrize(
    ("name", "line"),
    [("wan22_ti2v_5b", "architecture  wan"), ("sd35_medium", "architecture  sd3 (3.5 medium)")],
)
def test_inspect_names_architecture_and_variant(bmerge, tmp_path, name, line):
    file = small_file(tmp_path / "x.safetensors", name, 0)
    assert line in bmerge("inspect", file).out
    data = json.loads(bmerge("inspect", file, "--json").out)
    assert " ".join(["architecture ", data["architecture"]]) in line
    assert all(variant in line for variant in data["variant"])


NOWHERE = (
    "norm_final.weight",
    "sigmas",
    "pos_embed",
    "y_embedding",
    "logit_scale",
    "position_ids",
    "v_pred",
    "ztsnr",
    "pos_embed.freqs",
)
"""What layouts of diffusers have no place for."""
LEFTOVERS = {
    "model_ema", "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod", "posterior_variance",
    "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_mean_coef1",
    "posterior_mean_coef2", "posterior_log_variance_clipped",
}  # fmt: skip
"""What only training needs; no component of diffusers has it."""
ALONE = ("llama3_8b", "qwen2_7b", "d_t5xxl", "zimage_aio")
"""Of these there is one layout, but for GGUF's; Z-Image without its pad tokens is as Lumina 2."""
ALL = sorted(layouts())


def halfway(file):
    """Return the block in the middle of those that a file has, and the keys in it."""
    tensors = open_checkpoint(file).tensors
    architecture = detect(tensors, builtin())
    found = {block: set() for block in architecture.blocks}
    for key in tensors:
        found[architecture.block_of(key)].add(key)
    filled = [block for block, keys in found.items() if keys]
    block = filled[len(filled) // 2]
    return block, found[block]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_any_layout_merges_one_block_and_prunes(tmp_path, name):
    a, b = (small_file(tmp_path / f"{n}.safetensors", name, i) for i, n in enumerate("ab"))
    block, inside = halfway(a)
    out = tmp_path / "out.safetensors"
    merge("weighted_sum", a, b, output=out, alpha={block: 1, "*": 0})
    first, second, merged = map(load_file, (a, b, out))
    assert merged.keys() == first.keys()
    changed = {key for key in merged if not np.array_equal(merged[key], first[key])}
    assert changed == {key for key in inside if not np.array_equal(first[key], second[key])}
    assert all(np.array_equal(merged[key], second[key]) for key in changed)
    pruned = convert(a, output=tmp_path / "pruned.safetensors", prune=True).output
    kept = load_file(pruned)
    assert kept.keys() <= first.keys()
    assert {key.split(".")[0] for key in first.keys() - kept.keys()} <= LEFTOVERS


def plain(key):
    """Return a key without what is before the keys of parts."""
    return key.split("diffusion_model.")[-1].removeprefix("net.").removeprefix("text_model.")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name not in ALONE])
def test_any_layout_comes_back_from_the_other(tmp_path, name):
    file = small_file(tmp_path / "a.safetensors", name, 0)
    here, there = ("diffusers", "original") if name.startswith("d_") else ("original", "diffusers")
    if name == "hunyuan_video":
        here = "comfy"
    if name == "d_cogvideox":
        there = "comfy"
    other = convert(file, output=tmp_path / "b.safetensors", layout=there).output
    back = load_file(convert(other, output=tmp_path / "c.safetensors", layout=here).output)
    first = {plain(key): array for key, array in load_file(file).items()}
    found = {plain(key): array for key, array in back.items()}
    assert found.keys() <= first.keys()
    assert all(np.array_equal(array, first[key]) for key, array in found.items())
    lost = {key for key in first.keys() - found.keys() if key.split(".")[0] not in LEFTOVERS}
    assert all(key.endswith(NOWHERE) for key in lost), lost
