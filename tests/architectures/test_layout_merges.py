"""A weight for one block of a true layout changes exactly that block's tensors."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bmerge.testing import write_checkpoint

DATA = Path(__file__).parents[1] / "data" / "layouts.json.gz"


def small_file(path, name, seed):
    """Write a small copy of a layout: extents above 16 divided by 64, at least 4."""
    random = np.random.default_rng(seed)
    tensors = {}
    for key, dtype, shape in json.loads(gzip.decompress(DATA.read_bytes()))[name]:
        smaller = [max(4, extent // 64) if extent > 16 else extent for extent in shape]
        values = random.standard_normal(smaller, "f4")
        tensors[key] = np.zeros(smaller, "i8") if dtype == "I64" else values
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
