"""Anima in one file, whose adapter is in its diffusion model, and as diffusers has it: apart."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bmerge.architectures import builtin, detect
from bmerge.formats import open_checkpoint
from layouts import CASES, by_diffusers, small_model

ADAPTER, CONDITIONER = "llm_adapter.", "text_conditioner."


def anima(seed):
    """Return the diffusion model of a tiny Anima, without a prefix."""
    found = small_model("cosmos_predict2_2b", seed, start="net.", layers=2)
    found = {key: array for key, array in found.items() if "accum" not in key}
    rng = np.random.default_rng(seed)
    shapes = {"embed.weight": (32, 8), "in_proj.weight": (8, 8), "out_proj.weight": (8, 8),
              "norm.weight": (8,)}  # fmt: skip
    for block in range(2):
        for of in ("self_attn", "cross_attn"):
            shapes |= {f"blocks.{block}.{of}.{x}_proj.weight": (8, 8) for x in "qkvo"}
            shapes |= {f"blocks.{block}.{of}.{x}_norm.weight": (4,) for x in "qk"}
        shapes |= {f"blocks.{block}.mlp.0.weight": (32, 8), f"blocks.{block}.mlp.2.weight": (8, 32)}
    adapter = {ADAPTER + name: rng.normal(size=shape) for name, shape in shapes.items()}
    return {**found, **{key: array.astype("f4") for key, array in adapter.items()}}


def parts_of(model):
    """Return the components that diffusers makes of it."""
    rest = {key: array for key, array in model.items() if not key.startswith(ADAPTER)}
    own = {k.removeprefix(ADAPTER): v for k, v in model.items() if k.startswith(ADAPTER)}
    return {"transformer": by_diffusers(CASES["cosmos_predict2_2b"][2], rest),
            "text_conditioner": own}  # fmt: skip


def under(start, arrays):
    return {start + key: array for key, array in arrays.items()}


def as_keys(parts):
    return {f"{name}.{k}": v for name, arrays in parts.items() for k, v in arrays.items()}


@pytest.fixture
def models(tmp_path):
    """Two models, each as a file and as a folder of diffusers."""
    found = [anima(seed) for seed in (1, 2)]
    for name, model in zip("ab", found, strict=True):
        save_file(under("net.", model), tmp_path / f"{name}.safetensors")
        save_file(under("model.diffusion_model.", model), tmp_path / f"{name}2.safetensors")
        save_file(model, tmp_path / f"{name}3.safetensors")
        parts = parts_of(model)
        for part, arrays in parts.items():
            (tmp_path / name / part).mkdir(parents=True)
            save_file(arrays, tmp_path / name / part / "diffusion_pytorch_model.safetensors")
            (tmp_path / name / part / "config.json").write_text("{}")
        entries = {part: ["diffusers", "Model"] for part in parts}
        (tmp_path / name / "model_index.json").write_text(json.dumps(entries))
    return found


def mixed(models):
    a, b = models
    return {key: 0.7 * a[key].astype("f8") + 0.3 * b[key] for key in a}


def assert_near(found, exact):
    assert found.keys() == exact.keys()
    for key, array in exact.items():
        np.testing.assert_allclose(found[key], array, rtol=1e-5, atol=1e-6, err_msg=key)


def without(arrays):
    return {key: array for key, array in arrays.items() if "pos_embedder" not in key}


@pytest.mark.parametrize("other", ["b", "b.safetensors", "b2.safetensors", "b3.safetensors"])
@pytest.mark.parametrize("first", ["a", "a.safetensors", "a2.safetensors", "a3.safetensors"])
def test_any_two_merge_in_any_order(bmerge, models, tmp_path, first, other):
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", "weighted_sum", tmp_path / first, tmp_path / other, "--alpha", "0.3",
                    "-o", out)  # fmt: skip
    assert called.status == 0, called.err
    assert "left out" not in called.err
    exact = mixed(models)
    if first == "a":
        exact = as_keys(parts_of({k: v.astype("f4") for k, v in exact.items()}))
    else:
        start = {"a.": "net.", "a2": "model.diffusion_model.", "a3": ""}[first[:2]]
        exact = under(start, exact)
        if other == "b":  # diffusers has no buffers of places: they are the first model's
            for key in exact:
                if "pos_embedder" in key:
                    exact[key] = models[0][key.removeprefix(start)]
    assert_near(load_file(out), exact)
    architecture = detect(open_checkpoint(out).tensors, builtin())
    assert architecture.id == "anima"
    assert {"L00", "L01", "A00", "A01"} <= set(architecture.blocks)


def test_folder_becomes_a_file_and_a_file_a_folder(bmerge, models, tmp_path):
    words = ("convert", tmp_path / "a", "--layout", "original", "-o", tmp_path / "o.safetensors")
    assert bmerge(*words).status == 0
    assert_near(load_file(tmp_path / "o.safetensors"), under("net.", without(models[0])))
    words = ("convert", tmp_path / "b.safetensors", "--layout", "diffusers",
             "--configs", tmp_path / "a", "-o", tmp_path / "folder")  # fmt: skip
    called = bmerge(*words)
    assert called.status == 0, called.err
    for name, arrays in parts_of(models[1]).items():
        file = tmp_path / "folder" / name / "diffusion_pytorch_model.safetensors"
        assert_near(load_file(file), arrays)
    words = ("convert", tmp_path / "a", "--parts", "unet", "-o", tmp_path / "p.safetensors")
    assert bmerge(*words).status == 0
    adapter = parts_of(models[0])["text_conditioner"]
    found = load_file(tmp_path / "p.safetensors")
    assert_near({k: v for k, v in found.items() if k in under(CONDITIONER, adapter)},
                under(CONDITIONER, adapter))  # fmt: skip
    words = ("merge", "weighted_sum", tmp_path / "p.safetensors", tmp_path / "b", "--alpha", "0.3",
             "-o", tmp_path / "again.safetensors")  # fmt: skip
    assert bmerge(*words).status == 0
    floats = {key: array.astype("f4") for key, array in mixed(models).items()}
    again, exact = load_file(tmp_path / "again.safetensors"), as_keys(parts_of(floats))
    assert_near(again, {k.removeprefix("transformer."): v for k, v in exact.items()})


def test_weight_of_a_block_of_the_adapter_changes_it_alone(bmerge, models, tmp_path):
    out = tmp_path / "out.safetensors"
    words = ("merge", "weighted_sum", tmp_path / "a", tmp_path / "b.safetensors")
    called = bmerge(*words, "--alpha", "A01=1,*=0", "-o", out)
    assert called.status == 0, called.err
    found, first = load_file(out), as_keys(parts_of(models[0]))
    changed = {key for key in found if not np.array_equal(found[key], first[key])}
    assert changed == {key for key in first if key.startswith("text_conditioner.blocks.1.")}
