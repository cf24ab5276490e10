"""LoRAs named after another layout than the model's: split on fused weights, and fused on split."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bmerge.formats import open_checkpoint
from bmerge.formats.layouts import in_layout
from layouts import CASES, by_diffusers, small_model, values
from loras import NETWORKS, glora, low_rank, oft

PEFT = ("lora_B.weight", "lora_A.weight")
NAMES = ("wan21_i2v_14b", "auraflow", "flux2_dev", "ltxv_2b", "cosmos_predict2_2b")


def lora_of(path, arrays, start, *, flat=False, names=PEFT):
    """Write a LoRA of all matrices of a model; return the model with its changes."""
    rng = np.random.default_rng(3)
    tensors, changed = {}, {key: array.astype("f8") for key, array in arrays.items()}
    for key, array in arrays.items():
        if key.endswith(".weight") and array.ndim == 2 and "embedder" not in key:
            roles, change = low_rank(rng, array.shape, rank=2, names=names)
            name = key.removesuffix(".weight")
            name = start + (name.replace(".", "_") if flat else name)
            tensors |= {f"{name}.{role}": value for role, value in roles.items()}
            changed[key] = changed[key] + change
    save_file(tensors, path)
    return {key: array.astype("f4") for key, array in changed.items()}


@pytest.fixture
def baked(bmerge, tmp_path):
    def run(arrays, lora):
        save_file(arrays, tmp_path / "m.safetensors")
        out = tmp_path / "o.safetensors"
        called = bmerge("merge", "add_difference", tmp_path / "m.safetensors", "--lora", lora,
                        "--force", "-o", out)  # fmt: skip
        assert called.status == 0, called.err
        assert "left out" not in called.err
        return load_file(out)

    return run


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    far = {k: np.abs(found[k] - v).max() for k, v in expected.items()}
    assert max(far.values()) < 1e-4, max(far, key=far.get)


@pytest.mark.parametrize("name", NAMES)
def test_lora_by_the_names_of_diffusers_changes_the_original(baked, tmp_path, name):
    start, _, convert = CASES[name]
    model = small_model(name, 1, start=start, layers=1)
    expected = lora_of(tmp_path / "x.safetensors", by_diffusers(convert, model), "transformer.")
    found = baked(model, tmp_path / "x.safetensors")
    assert_close(by_diffusers(convert, found), expected)


@pytest.mark.parametrize("name", NAMES)
def test_lora_by_the_original_names_changes_a_model_of_diffusers(baked, tmp_path, name):
    start, _, convert = CASES[name]
    model = small_model(name, 1, start=start, layers=1)
    changed = lora_of(tmp_path / "x.safetensors", model, "lora_unet_", flat=True,
                      names=("lora_up.weight", "lora_down.weight"))  # fmt: skip
    found = baked(by_diffusers(convert, model), tmp_path / "x.safetensors")
    assert_close(found, by_diffusers(convert, changed))


def test_split_lora_of_z_image_changes_its_fused_weights_and_back(baked, tmp_path):
    theirs = small_model("d_zimage", 1, layers=1)
    save_file(theirs, tmp_path / "d.safetensors")
    original = in_layout(open_checkpoint(tmp_path / "d.safetensors").tensors, "original")
    fused = {key: values(tensor) for key, tensor in original.items()}
    expected = lora_of(tmp_path / "x.safetensors", theirs, "diffusion_model.")
    found = baked(fused, tmp_path / "x.safetensors")
    q, k, v = (expected[f"layers.0.attention.to_{name}.weight"] for name in "qkv")
    assert np.abs(found["layers.0.attention.qkv.weight"] - np.concatenate([q, k, v])).max() < 1e-4
    changed = lora_of(tmp_path / "y.safetensors", fused, "lora_unet_", flat=True)
    found = baked(theirs, tmp_path / "y.safetensors")
    parts = np.concatenate([found[f"layers.0.attention.to_{name}.weight"] for name in "qkv"])
    assert np.abs(parts - changed["layers.0.attention.qkv.weight"]).max() < 1e-4


def test_wan_loras_of_other_programs_find_their_places(baked, tmp_path):
    model = small_model("wan21_t2v_1_3b", 1, layers=1)
    rng = np.random.default_rng(2)
    names = ("lora_up.weight", "lora_down.weight")
    roles, change = low_rank(rng, model["blocks.0.self_attn.q.weight"].shape, names=names)
    tables = {key: rng.standard_normal(model[f"{key}.modulation"].shape).astype("f4")
              for key in ("blocks.0", "head")}  # fmt: skip
    bias = rng.standard_normal(model["blocks.0.ffn.2.bias"].shape).astype("f4")
    tensors = {f"lora_unet__blocks_0_self_attn_q.{role}": array for role, array in roles.items()}
    tensors |= {f"diffusion_model.{key}.diff_m": array for key, array in tables.items()}
    tensors["diffusion_model.blocks.0.ffn.2.diff_b"] = bias
    save_file(tensors, tmp_path / "x.safetensors")
    expected = dict(model)
    expected["blocks.0.self_attn.q.weight"] = model["blocks.0.self_attn.q.weight"] + change
    for key, table in tables.items():
        expected[f"{key}.modulation"] = model[f"{key}.modulation"] + table
    expected["blocks.0.ffn.2.bias"] = model["blocks.0.ffn.2.bias"] + bias
    assert_close(baked(model, tmp_path / "x.safetensors"), expected)


@pytest.mark.parametrize("start", ["lora_te_", "text_encoder.", "text_encoders.qwen3_4b."])
def test_language_model_is_the_text_encoder(baked, tmp_path, start):
    whole = small_model("zimage_aio", 1, layers=1)
    name = "model.layers.0.self_attn.q_proj"
    key = f"text_encoders.qwen3_4b.transformer.{name}.weight"
    roles, change = low_rank(np.random.default_rng(1), whole[key].shape)
    said = {"lora_te_": "layers_0_self_attn_q_proj", "text_encoder.": name}
    said = said.get(start, f"transformer.{name}")
    save_file({f"{start}{said}.{role}": array for role, array in roles.items()},
              tmp_path / "x.safetensors")  # fmt: skip
    assert_close(baked(whole, tmp_path / "x.safetensors"), {**whole, key: whole[key] + change})


@pytest.mark.parametrize("network", ["lokr whole", "lokr with two products", "loha", "glora",
                                     "glora of old"])  # fmt: skip
def test_fused_layers_of_other_networks_change_split_weights(baked, tmp_path, network):
    start, _, convert = CASES["flux2_dev"]
    model = small_model("flux2_dev", 1, start=start, layers=1)
    key = "double_blocks.0.img_attn.qkv.weight"
    roles, change = NETWORKS[network][1](np.random.default_rng(4), model[key])
    name = f"lycoris_{key.removesuffix('.weight').replace('.', '_')}"
    save_file({f"{name}.{role}": np.asarray(array) for role, array in roles.items()},
              tmp_path / "x.safetensors")  # fmt: skip
    found = baked(by_diffusers(convert, model), tmp_path / "x.safetensors")
    changed = {**model, key: (model[key] + change).astype("f4")}
    assert_close(found, by_diffusers(convert, changed))


@pytest.mark.parametrize("network", ["oft", "boft", "glora"])
def test_fused_layers_whose_rows_mean_nothing_alone_are_left_out(network, bmerge, tmp_path):
    """GLoRA of a rank as great as its size: the rows of one part fit both orders of its factors."""
    start, _, convert = CASES["flux2_dev"]
    model = small_model("flux2_dev", 1, start=start, layers=1)
    fused, other = (f"double_blocks.0.img_attn.{name}.weight" for name in ("qkv", "proj"))
    rng = np.random.default_rng(4)
    build = partial(glora, rank=model[fused].shape[1]) if network == "glora" else oft(2)
    if network == "boft":
        build = NETWORKS["boft"][1]
    roles, _ = build(rng, model[fused])
    more, change = low_rank(rng, model[other].shape)
    tensors = {"double_blocks.0.img_attn.qkv": roles, "double_blocks.0.img_attn.proj": more}
    save_file({f"{name}.{role}": np.asarray(array) for name, each in tensors.items()
               for role, array in each.items()}, tmp_path / "x.safetensors")  # fmt: skip
    save_file(by_diffusers(convert, model), tmp_path / "m.safetensors")
    words = (tmp_path / "m.safetensors", "--lora", tmp_path / "x.safetensors")
    called = bmerge("merge", "add_difference", *words, "-o", tmp_path / "o.safetensors")
    assert called.status == 0, called.err
    assert "the model has no layer 'double_blocks.0.img_attn.qkv': left out" in called.err
    changed = {**model, other: (model[other] + change).astype("f4")}
    assert_close(load_file(tmp_path / "o.safetensors"), by_diffusers(convert, changed))


@pytest.mark.parametrize("start", ["pipe.dit.", "dit.", "model.", "student.transformer."])
def test_words_of_trainers_before_all_layers_are_left_out(baked, tmp_path, start):
    model = small_model("flux2_dev", 1, layers=1)
    expected = lora_of(tmp_path / "x.safetensors", model, start)
    assert_close(baked(model, tmp_path / "x.safetensors"), expected)


def in_original(path):
    tensors = open_checkpoint(path).tensors
    return {key: values(t) for key, t in (in_layout(tensors, "original") or tensors).items()}


@pytest.mark.parametrize("name", ["d_zimage", "d_flux2_klein", "d_wan", "d_qwen"])
def test_lora_from_models_of_diffusers_has_the_names_that_comfyui_knows(
    bmerge, baked, tmp_path, name
):
    base, other, lora = (tmp_path / f"{file}.safetensors" for file in ("base", "tuned", "x"))
    model = small_model(name, 1, layers=1)
    tuned = lora_of(lora, model, "transformer.")
    save_file(model, base)
    save_file(tuned, other)
    words = (base, other, "--rank", "8", "--dtype", "fp32", "-o", lora, "--force")
    called = bmerge("lora", "extract", *words)
    assert called.status == 0, called.err
    original = in_original(base)
    known = {f"lora_unet_{key.removesuffix('.weight').replace('.', '_')}" for key in original}
    assert {key.partition(".")[0] for key in load_file(lora)} <= known
    assert_close(baked(model, lora), tuned)
    assert_close(baked(original, lora), in_original(other))
