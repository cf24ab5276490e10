"""Every command that computes refuses weights that it cannot decode, and writes nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bmerge.testing import read_checkpoint, write_checkpoint
from coded import gptq
from quantised import LAYOUTS, ONE, X, beside, write_layout

COMMANDS = {
    "merge": "merge weighted_sum plain.safetensors q.safetensors -o {out}",
    "merge of it first": "merge weighted_sum q.safetensors plain.safetensors -o {out}",
    "plan": "merge weighted_sum q.safetensors plain.safetensors --dry-run",
    "LoRA on it": "merge add_difference q.safetensors --lora lora.safetensors -o {out}",
    "LoRA": "merge add_difference plain.safetensors --lora qlora.safetensors -o {out}",
    "extract": "lora extract q.safetensors plain.safetensors --rank 2 -o {out}",
    "extract of it": "lora extract plain.safetensors q.safetensors --rank 2 -o {out}",
    "resize": "lora resize qlora.safetensors --rank 2 -o {out}",
    "merge of LoRAs": "lora merge lora.safetensors qlora.safetensors -o {out}",
    "rebasin": "rebasin plain.safetensors q.safetensors -o {out}",
    "steps": "merge steps.yaml -o {out}",
    "study": "run study.yaml --out {out}",
}
STEPS = """
models: {a: plain.safetensors, b: q.safetensors}
steps:
  out: {pick: {"*": a, "blocks.1*": b}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, study_file):
    """A plain model, a quantised one, a LoRA of either kind, a study and a recipe."""
    monkeypatch.chdir(tmp_path)
    layer = "lora_unet_blocks_0_attn_proj"
    write_checkpoint(tmp_path / "plain.safetensors", {f"{X}.weight": np.ones((64, 64), "f4")})
    write_layout(tmp_path / "q.safetensors", LAYOUTS["w4a8"][1])
    up, down = f"{layer}.lora_up", f"{layer}.lora_down"
    factors = [(f"{up}.weight", "I8", (64, 4)), (f"{down}.weight", "F16", (4, 64))]
    write_layout(tmp_path / "qlora.safetensors", [*factors, (f"{up}.weight_scale", "F32", ())])
    plain = {f"{up}.weight": np.ones((64, 4)), f"{down}.weight": np.ones((4, 64))}
    write_checkpoint(tmp_path / "lora.safetensors", plain)
    (tmp_path / "steps.yaml").write_text(STEPS)
    text = study_file.read_text().replace("b.safetensors", "q.safetensors")
    (tmp_path / "study.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize("what", COMMANDS)
def test_quantised_weights_are_refused_by_name_before_anything_is_written(
    bmerge, folder, example, what
):
    words = COMMANDS[what].format(out="out.safetensors").split()
    called = bmerge(*words, *(example if what == "study" else ()))
    assert called.status == 1
    name = "int8" if "qlora" in COMMANDS[what] else "asym_w4a8_int8"
    assert f"holds quantised weights ({name}), which cannot be merged" in called.err
    assert "fp16, bf16 or fp32" in called.err
    assert not (folder / "out.safetensors").exists() or not any(
        (folder / "out.safetensors").glob("**/*.png")
    )


def test_inspect_names_the_format(bmerge, tmp_path):
    layout = beside("F8_E4M3", (8, 8), weight_scale=ONE, weight_zero_point=ONE)
    layout += [(f"y.{i}.weight", "I8", (8, 8)) for i in range(2)]
    layout += [(f"y.{i}.weight_scale", "F32", (8, 1)) for i in range(2)]
    file = write_layout(tmp_path / "q.safetensors", layout)
    assert json.loads(bmerge("inspect", file, "--json").out)["quantised"] == {
        "scaled fp8": 1,
        "int8": 2,
    }
    out = bmerge("inspect", file).out
    assert "quantised     int8 (2 weights)\n" in out
    assert "quantised     scaled fp8 (1 weight): bmerge cannot merge it\n" in out


def test_inspect_names_the_format_of_a_lora(bmerge, folder):
    out = bmerge("inspect", "qlora.safetensors").out
    assert "quantised     int8 (1 weight):" in out
    assert json.loads(bmerge("inspect", "lora.safetensors", "--json").out)["quantised"] == {}


def words_of(folder, layer, **settings):
    """Write a folder of a language model with one quantised layer, and what tells of it."""
    folder.mkdir()
    write_layout(folder / "model.safetensors", layer.layout(), contents=layer.contents())
    config = {"model_type": "x", "quantization_config": {"quant_method": "gptq", **settings}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "quantize_config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(("settings", "more"), [({}, 1), ({"checkpoint_format": "gptq_v2"}, 2)])
def test_a_language_model_of_words_becomes_one_of_floats(bmerge, tmp_path, settings, more):
    rng = np.random.default_rng(3)
    layer = gptq(rng)
    if more == 2:  # its zeros are stored as they are: one lower than the layer was made with
        layer.values = gptq_with_lower_zeros(layer)
    plain = rng.standard_normal(layer.values.shape)
    write_checkpoint(tmp_path / "b.safetensors", {f"{X}.weight": plain}, dtype="F32")
    base = words_of(tmp_path / "a", layer, **settings)
    out = tmp_path / "out"
    called = bmerge("merge", "weighted_sum", base, tmp_path / "b.safetensors", "-o", out)
    assert called.status == 0, called.err
    merged = read_checkpoint(out / "model.safetensors")
    expected = (layer.values + plain.astype("f4")) / 2
    assert set(merged) == {f"{X}.weight"}
    assert np.allclose(np.asarray(merged[f"{X}.weight"], "f4"), expected, rtol=2**-8, atol=1e-6)
    assert json.loads((out / "config.json").read_text()) == {"model_type": "x"}
    assert not (out / "quantize_config.json").exists()


def gptq_with_lower_zeros(layer):
    scale = np.frombuffer(layer.tensors["scales"][2], np.float16).reshape(3, -1).T
    return layer.values + np.repeat(scale.astype("f4"), 32, 1)


def test_words_of_a_group_that_is_not_there_are_refused(bmerge, tmp_path):
    layer = gptq(np.random.default_rng(3))
    layer.tensors["g_idx"] = "I32", (96,), np.full(96, 3, "i4").tobytes()
    file = write_layout(tmp_path / "a.safetensors", layer.layout(), contents=layer.contents())
    called = bmerge("merge", "weighted_sum", file, file, "-o", tmp_path / "out.safetensors")
    assert called.status == 1
    assert "g_idx' has not a group of 'blocks.0.attn.proj.scales' for each column" in called.err
