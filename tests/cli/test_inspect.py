from __future__ import annotations

import json

import numpy as np

from bmerge.testing import write_checkpoint


def test_inspect_counts_keys_and_bytes_per_block(bmerge, sd1_models):
    data = json.loads(bmerge("inspect", sd1_models[0], "--json").out)
    assert (data["kind"], data["architecture"]) == ("checkpoint", "sd1")
    assert data["keys"] == 1131
    assert data["dtypes"] == {"F16": 1130, "I64": 1}
    blocks = data["blocks"]
    assert blocks["IN00"]["keys"] == 6
    assert sum(block["keys"] for block in blocks.values()) == data["keys"]
    assert sum(block["bytes"] for block in blocks.values()) == data["bytes"]


def test_inspect_reads_metadata_as_data_where_it_is_json(bmerge, tmp_path):
    file = write_checkpoint(
        tmp_path / "m.safetensors",
        {"w": np.zeros(3, "f4")},
        metadata={"title": "x", "recipe": '{"method": "m"}', "odd": "{not json"},
    )
    data = json.loads(bmerge("inspect", file, "--json").out)
    assert data["metadata"] == {"title": "x", "recipe": {"method": "m"}, "odd": "{not json"}


def test_inspect_shows_how_a_file_was_merged(bmerge, sd1_models, tmp_path):
    out = tmp_path / "out.safetensors"
    bmerge("merge", "weighted_sum", *sd1_models[:2], "--alpha", "0.25", "-o", out)
    called = bmerge("inspect", out)
    assert called.status == 0
    assert "architecture  sd1" in called.out
    assert '"method": "weighted_sum"' in called.out
    assert "0.25" in called.out


def test_inspect_tells_a_lora_from_a_model(bmerge, tmp_path):
    factors = {
        f"{layer}.{role}": np.zeros(shape, "f4")
        for layer, rank in (("lora_unet_a", 4), ("lora_te2_b", 4), ("lora_te2_c", 8))
        for role, shape in (("lora_up.weight", (6, rank)), ("lora_down.weight", (rank, 5)))
    }
    others = {
        "lora_unet_a.dora_scale": np.zeros((6, 1), "f4"), "bundle_emb.x": np.zeros(3, "f4"),
        "transformer.d.lokr_w1": np.zeros((2, 2), "f4"),
        "transformer.d.lokr_w2": np.zeros((3, 4), "f4"),
    }  # fmt: skip
    file = write_checkpoint(tmp_path / "x.safetensors", {**factors, **others})
    data = json.loads(bmerge("inspect", file, "--json").out)
    assert data["kind"] == "lora"
    assert data["networks"] == {"LoRA": 3, "LoKr": 1}
    assert data["dora"] == 1
    assert data["ranks"] == {"4": 2, "8": 1}
    assert data["parts"] == {"unet": 2, "te2": 2}
    assert data["unknown"] == ["bundle_emb.x"]
    out = bmerge("inspect", file).out
    assert "networks      LoRA (3), LoKr (1), 1 with DoRA" in out
    assert "text encoder 2       2" in out


def test_inspect_of_no_checkpoint_is_one_line(bmerge, tmp_path):
    (tmp_path / "notes.safetensors").write_bytes(b"hello")
    called = bmerge("inspect", tmp_path / "notes.safetensors")
    assert (called.status, called.out) == (1, "")
    assert called.err.startswith("error: ")
