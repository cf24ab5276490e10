"""Models in different layouts: their merge is that of the same models in one layout, to the bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bmerge.formats import open_checkpoint
from bmerge.formats.layouts import in_layout
from layouts import CASES, PICTURE, WHOLE, by_diffusers, small_model, values


def under(start, arrays):
    return {start + key: value for key, value in arrays.items()}


@pytest.fixture
def merged(bmerge, tmp_path):
    """Return what merges two models by name, and gives the result's tensors."""

    def run(a, b, *options):
        for name, arrays in zip("ab", (a, b), strict=True):
            save_file(arrays, tmp_path / f"{name}.safetensors")
        files = (tmp_path / f"{name}.safetensors" for name in "abo")
        first, second, out = files
        method = ("merge", "weighted_sum", first, second, "--alpha", "0.3")
        called = bmerge(*method, "--force", "-o", out, *options)
        assert called.status == 0, called.err
        return load_file(out)

    return run


def assert_same(found, expected):
    """Check that two results are the same, but for what diffusers has no place for."""
    assert found.keys() == expected.keys()
    different = {key for key in expected if not np.array_equal(found[key], expected[key])}
    assert all(key.endswith(("logit_scale", "norm_final.weight")) for key in different), different


@pytest.mark.parametrize(
    "name",
    ["sdxl", "sd2", "sdxl_inpaint", "sd3_medium", "flux_dev_bfl", "lumina2", "wan21_i2v_14b"],
)
def test_merge_with_a_model_of_diffusers_is_that_of_the_same_one(merged, name):
    start, _, convert = CASES[name]
    layers = 0 if name in WHOLE else 1
    a, b = (small_model(name, seed, start=start, layers=layers) for seed in (1, 2))
    theirs = by_diffusers(convert, b)
    assert_same(merged(under(start, a), theirs), merged(under(start, a), under(start, b)))
    ours = by_diffusers(convert, a)
    assert_same(merged(ours, under(start, b)), merged(ours, theirs))


def test_parts_of_a_fused_projection_merge_with_it(merged, tmp_path):
    theirs = [small_model("d_zimage", seed) for seed in (1, 2)]
    ours = []
    for arrays in theirs:
        save_file(arrays, tmp_path / "x.safetensors")
        tensors = in_layout(open_checkpoint(tmp_path / "x.safetensors").tensors, "original")
        ours.append({key: values(tensor) for key, tensor in tensors.items()})
    fused = merged(under(PICTURE, ours[0]), ours[1])
    assert_same(merged(under(PICTURE, ours[0]), theirs[1]), fused)
    assert_same(merged(theirs[0], under(PICTURE, ours[1])), merged(*theirs))


@pytest.fixture(scope="module")
def sdxl():
    """Return two models of SDXL in one file, and the second one as diffusers has its parts."""
    first, second = (small_model("sdxl", seed, layers=0) for seed in (1, 2))

    def part(start):
        return {k.removeprefix(start): v for k, v in second.items() if k.startswith(start)}

    encoder = "conditioner.embedders.0.transformer."
    parts = {
        "unet": by_diffusers(CASES["sdxl"][2], part(PICTURE)),
        "vae": by_diffusers(CASES["sd2"][2], part("first_stage_model.")),
        "text_encoder": part(encoder),
        "text_encoder_2": by_diffusers(
            CASES["sdxl_inpaint"][2], part("conditioner.embedders.1.model.")
        ),
    }
    return first, second, parts


def test_one_file_merges_with_a_folder_of_diffusers(bmerge, tmp_path, sdxl):
    first, second, parts = sdxl
    save_file(first, tmp_path / "a.safetensors")
    save_file(second, tmp_path / "b.safetensors")
    for name, arrays in parts.items():
        (tmp_path / "folder" / name).mkdir(parents=True)
        file = "model" if "text" in name else "diffusion_pytorch_model"
        save_file(arrays, tmp_path / "folder" / name / f"{file}.fp16.safetensors")
        (tmp_path / "folder" / name / "config.json").write_text("{}")
    entries = {name: ["diffusers", "Model"] for name in parts}
    (tmp_path / "folder" / "model_index.json").write_text(json.dumps(entries))
    found = []
    for other in ("b.safetensors", "folder"):
        models = (tmp_path / "a.safetensors", tmp_path / other)
        called = bmerge("merge", "weighted_sum", *models, "--alpha", "0.3", "--force",
                        "-o", tmp_path / "o.safetensors")  # fmt: skip
        assert called.status == 0, called.err
        found.append(load_file(tmp_path / "o.safetensors"))
    assert_same(found[1], found[0])


def test_quantised_weights_are_decoded_before_they_are_taken_apart(bmerge, tmp_path):
    a, b = (
        {key: np.tile(array, 4) for key, array in small_model("flux2_dev", seed).items()}
        for seed in (1, 2)
    )
    theirs = by_diffusers(CASES["flux2_dev"][2], b)
    for name, arrays in {"a": a, "b": theirs}.items():
        save_file(arrays, tmp_path / f"{name}.safetensors")

    def run(*words):
        called = bmerge(*words[:-1], "-o", tmp_path / f"{words[-1]}.safetensors")
        assert called.status == 0, called.err
        return tmp_path / f"{words[-1]}.safetensors"

    floats = ("--quantise", "none", "--dtype", "fp32")
    coded = run("convert", tmp_path / "a.safetensors", "--quantise", "fp8_scaled", "a8")
    plain = run("convert", coded, *floats, "af")
    arrays = load_file(plain)
    name = "double_blocks.0.img_attn.qkv.weight"
    assert not np.array_equal(arrays[name], a[name])
    mixed = ("merge", "weighted_sum", tmp_path / "b.safetensors", "--alpha", "0.3")
    one, other = run(*mixed, coded, "one"), run(*mixed, plain, "other")
    assert_same(load_file(one), load_file(other))
    apart = run("convert", coded, "--layout", "diffusers", "a8d")
    stored = open_checkpoint(apart).tensors
    assert stored["transformer_blocks.0.attn.to_q.weight"].dtype == "F8_E4M3"
    assert stored["transformer_blocks.0.attn.to_q.weight_scale"].shape == ()
    found = load_file(run("convert", apart, *floats, "a8df"))
    for key, array in by_diffusers(CASES["flux2_dev"][2], arrays).items():
        step = np.abs(array).max() / 448 * 16  # half of it is between the largest numbers
        assert np.abs(found[key] - array).max() <= step
