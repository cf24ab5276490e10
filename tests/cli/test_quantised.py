"""Every command that computes refuses weights that it cannot decode, and writes nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bmerge.testing import write_checkpoint
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
