from __future__ import annotations

import hashlib
import json
import re

import numpy as np

from bmerge.testing import write_checkpoint
from bmerge.testing.checkpoints import write_random
from bmerge.testing.layouts import sdxl_layout, shrink
from gguf_files import F32, Q8_0, gguf, pair, q8_0


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


def test_inspect_names_components_that_are_there_and_missing(bmerge, sd1_models, tmp_path):
    data = json.loads(bmerge("inspect", sd1_models[0], "--json").out)
    parts = {name: part["keys"] for name, part in data["components"].items()}
    assert parts == {"picture model": 686, "VAE": 248, "text encoder": 197}
    assert data["missing"] == []
    layout = [
        entry
        for entry in sdxl_layout()
        if not entry[0].startswith(("first", "conditioner.embedders.1"))
    ]
    file = write_random(tmp_path / "x.safetensors", shrink(layout), seed=0)
    data = json.loads(bmerge("inspect", file, "--json").out)
    assert data["missing"] == ["text encoder", "VAE"]
    assert "missing       text encoder, VAE" in bmerge("inspect", file).out
    encoder = [entry for entry in layout if entry[0].startswith("conditioner")]
    file = write_random(tmp_path / "te.safetensors", shrink(encoder), seed=0)
    assert json.loads(bmerge("inspect", file, "--json").out)["missing"] == []
    file = write_checkpoint(tmp_path / "x.safetensors", {"layers.0.w": np.zeros(3, "f4")})
    data = json.loads(bmerge("inspect", file, "--json").out)
    assert (list(data["components"]), data["missing"]) == (["model"], [])


def test_inspect_tells_of_a_missing_image_encoder(bmerge, tmp_path):
    blocks = (
        "input_blocks.11.0",
        "middle_block.0",
        "output_blocks.11.0",
        "input_blocks.1.0.time_stack",
    )
    keys = [f"model.diffusion_model.{block}.weight" for block in blocks]
    keys.append("first_stage_model.decoder.weight")
    for encoder, missing in ((None, ["image encoder"]), ("conditioner.embedders.0.open_clip.", [])):
        names = keys if encoder is None else [*keys, f"{encoder}model.visual.proj"]
        file = write_checkpoint(
            tmp_path / "x.safetensors", {key: np.zeros(3, "f4") for key in names}
        )
        data = json.loads(bmerge("inspect", file, "--json").out)
        assert (data["architecture"], data["missing"]) == ("svd", missing)


def test_hashes_are_those_by_which_others_know_a_file(bmerge, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    array = np.random.default_rng(0).standard_normal(400_000).astype("f4")
    file = write_checkpoint(tmp_path / "x.safetensors", {"a.0.w": array})
    data = file.read_bytes()
    content = data[8 + int.from_bytes(data[:8], "little") :]
    expected = {
        "AutoV1": hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8],
        "AutoV2": hashlib.sha256(data).hexdigest()[:10],
        "AutoV3": hashlib.sha256(content).hexdigest()[:12],
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    before = json.loads(bmerge("inspect", file, "--json").out)["hashes"]
    assert before == {"AutoV1": expected["AutoV1"]}
    assert json.loads(bmerge("inspect", file, "--hashes", "--json").out)["hashes"] == expected
    assert json.loads(bmerge("inspect", file, "--json").out)["hashes"] == expected  # remembered
    small = write_checkpoint(tmp_path / "small.safetensors", {"a.0.w": np.zeros(3, "f4")})
    found = json.loads(bmerge("inspect", small, "--hashes", "--json").out)["hashes"]
    assert set(found) == {"AutoV2", "AutoV3", "sha256"}  # it ends before what AutoV1 is of
    file.write_bytes(data[:-1] + b"\x00")
    assert "AutoV2" not in bmerge("inspect", file).out


def test_family_tree_draws_every_merge_once(bmerge, sd1_models, tmp_path):
    a, b, c = sd1_models
    one, two, three = (tmp_path / f"{name}.safetensors" for name in ("one", "two", "three"))
    bmerge("merge", "weighted_sum", a, b, "--alpha", "0.25", "-o", one)
    bmerge("merge", "add_difference", one, b, c, "--alpha", "IN00=1,*=0", "-o", two)
    bmerge("merge", "weighted_sum", two, one, "-o", three)
    lines = bmerge("inspect", three, "--lineage").out.splitlines()
    shape = [re.sub(r"  [0-9a-f]{10}", "", line) for line in lines]
    assert shape == [
        "three.safetensors  = weighted_sum, alpha 0.5",
        "├─ two.safetensors  = add_difference, alpha by block",
        "│  ├─ one.safetensors  = weighted_sum, alpha 0.25",
        "│  │  ├─ a.safetensors",
        "│  │  └─ b.safetensors",
        "│  ├─ b.safetensors",
        "│  └─ c.safetensors",
        "└─ one.safetensors  = weighted_sum, alpha 0.25  (as above)",
    ]
    data = json.loads(bmerge("inspect", three, "--lineage", "--json").out)
    assert len(data["merges"]) == 3
    assert data["merges"][data["file"]["made"]]["how"] == "weighted_sum, alpha 0.5"
    assert bmerge("inspect", a, "--lineage").out == "a.safetensors\n"
    vae = tmp_path / "vae.safetensors"
    bmerge("convert", a, "--parts", "vae", "--dtype", "fp32", "-o", vae)
    first, _ = bmerge("inspect", vae, "--lineage").out.splitlines()
    assert first == "vae.safetensors  = copy, parts vae, dtype F32"


def test_types_of_a_gguf_file_are_told(bmerge, tmp_path):
    values = np.ones((4, 64), "f4")
    tensors = [
        ("double_blocks.0.img_mod.lin.weight", (4, 64), Q8_0, q8_0(values)),
        ("double_blocks.0.txt_mod.lin.weight", (4, 64), Q8_0, q8_0(values)),
        ("double_blocks.0.img_mod.lin.bias", (4,), F32, np.ones(4, "<f4").tobytes()),
    ]
    (tmp_path / "flux.gguf").write_bytes(gguf(tensors, [pair("general.architecture", 8, "flux")]))
    data = json.loads(bmerge("inspect", tmp_path / "flux.gguf", "--json").out)
    assert data["quantised"] == {"Q8_0": 2}
    assert data["dtypes"] == {"Q8_0": 2, "F32": 1}
    (component,) = data["components"].values()
    assert component["dtypes"] == {"Q8_0": 2, "F32": 1}
    out = bmerge("inspect", tmp_path / "flux.gguf").out
    assert "quantised     Q8_0 (2 weights)\n" in out
    assert "cannot merge" not in out
