"""Exclude, prune, clamp, rounding: by recipe, option and study, on every executor."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bmerge.testing import read_checkpoint, write_checkpoint

OPTIONS = ["--exclude", "*.bias", "--clamp", "ab", "--rounding", "stochastic", "--seed", 3]
KEYS = {"exclude": ["*.bias"], "clamp": "ab", "rounding": "stochastic", "seed": 3}


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Three models in BF16, their layers near to each other."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    shapes = {"weight": (40, 33), "bias": (40,)}
    base = {
        f"layers.{i}.{name}": random.standard_normal(shape)
        for i in range(2)
        for name, shape in shapes.items()
    }
    paths = []
    for name in "abc":
        tensors = {k: v + random.standard_normal(v.shape) / 8 for k, v in base.items()}
        paths.append(write_checkpoint(tmp_path / f"{name}.safetensors", tensors, dtype="BF16"))
    return paths


def test_every_front_door_and_executor_gives_the_same_bytes(bmerge, models, tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        json.dumps({
            "method": "add_difference", "models": [path.name for path in models],
            "hyperparameters": {"alpha": 0.7}, **KEYS,
        })
    )  # fmt: skip
    command = ["add_difference", *models, "--alpha", 0.7, *OPTIONS]
    calls = {
        "command": [*command, "--executor", "native", "--threads", 1],
        "recipe": ["recipe.yaml", "--executor", "native", "--threads", 3],
        "torch": ["recipe.yaml", "--executor", "torch", "--device", "cpu"],
    }
    for name, words in calls.items():
        called = bmerge("merge", *words, "--no-metadata", "-o", f"{name}.safetensors")
        assert called.status == 0, called.err
        assert "2 tensors ('layers.0.bias', …) excluded: kept as in a.safetensors" in called.err
    assert len({(tmp_path / f"{name}.safetensors").read_bytes() for name in calls}) == 1
    a, b, c, out = (read_checkpoint(p) for p in (*models, tmp_path / "command.safetensors"))
    for key, merged in out.items():
        if key.endswith("bias"):
            assert merged.tobytes() == a[key].tobytes()
            continue
        exact = a[key].astype("f8") + 0.7 * (b[key].astype("f8") - c[key])
        exact = np.clip(exact, np.minimum(a[key], b[key]), np.maximum(a[key], b[key]))
        assert np.all(np.abs(merged - exact) <= np.abs(exact) * 2.0**-7)
        assert np.any(np.abs(merged - exact) > np.abs(exact) * 2.0**-8)  # not the nearest


def test_options_go_before_the_recipes_keys_and_are_kept_in_the_metadata(bmerge, models, tmp_path):
    data = {"method": "weighted_sum", "models": ["a.safetensors", "b.safetensors"], **KEYS}
    (tmp_path / "recipe.yaml").write_text(json.dumps(data))
    words = ("--seed", 0, "--clamp", "none", "--exclude", "layers.1.*", "-o", "out.safetensors")
    called = bmerge("merge", "recipe.yaml", *words)
    assert called.status == 0, called.err
    inspected = bmerge("inspect", "out.safetensors", "--json").out
    stored = json.loads(inspected)["metadata"]["bmerge.recipe"]
    assert stored["exclude"] == ["layers.1.*"]
    assert stored["rounding"] == "stochastic"
    assert not {"clamp", "seed", "prune"} & set(stored)


def test_stochastic_rounding_keeps_a_small_change_on_average(bmerge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in (("a", 1.0), ("b", 1.0 + 1 / 64)):
        tensors = {f"layers.{i}.w": np.full((64, 1024), value) for i in range(2)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors, dtype="BF16")
    means = {}
    for rounding in ("nearest", "stochastic"):
        words = ("a.safetensors", "b.safetensors", "--alpha", 0.05, "--rounding", rounding)
        out = f"{rounding}.safetensors"
        assert bmerge("merge", "weighted_sum", *words, "-o", out).status == 0
        means[rounding] = read_checkpoint(tmp_path / out)["layers.0.w"].astype("f8").mean()
    assert means["nearest"] == 1.0
    assert means["stochastic"] == pytest.approx(1 + 0.05 / 64, abs=1e-4)


def test_prune_writes_the_model_alone(bmerge, sd1_models, tmp_path):
    tensors = read_checkpoint(sd1_models[0])
    dtypes = dict.fromkeys(tensors, "F16")
    extra = {"model_ema.decay": np.ones(()), "global_step": np.array(7)}
    whole = write_checkpoint(tmp_path / "whole.safetensors", {**extra, **tensors}, dtype=dtypes)
    out = tmp_path / "out.safetensors"
    called = bmerge("merge", "weighted_sum", whole, sd1_models[1], "--prune", "-o", out)
    assert called.status == 0, called.err
    assert "note: 2 tensors ('model_ema.decay', …) pruned" in called.err
    assert set(read_checkpoint(out)) == set(tensors)


def test_pattern_that_names_nothing_is_an_error(bmerge, models):
    words = ("--exclude", "*.biass", "-o", "out.safetensors")
    called = bmerge("merge", "weighted_sum", *models[:2], *words)
    assert called.status in {1, 2}
    assert "error: exclude: '*.biass' is not a block of" in called.err
    assert "hint: did you mean 'bias'?" in called.err


def test_study_merges_with_the_settings_and_does_not_search_what_is_excluded(
    bmerge, study_file, example, tmp_path
):
    text = study_file.read_text().replace("per: single", "per: block")
    rest = "b.safetensors]\n  exclude: [L00]\n  rounding: stochastic\n  dtype: bf16"
    study_file.write_text(text.replace("b.safetensors]", rest))
    called = bmerge("run", "study.yaml", *example)
    assert called.status == 0, called.err
    trials = json.loads(bmerge("studies", "show", "runs/small", "--json").out)["trials"]
    assert {name for trial in trials for name in trial["params"]} == {"pull.L01"}
    best = tmp_path / "runs/small/best/best.safetensors"
    kept, source = (read_checkpoint(p)["layers.0.w"] for p in (best, tmp_path / "a.safetensors"))
    assert kept.dtype == source.dtype
    assert (kept == source).all()
    assert "rounding: stochastic" in (best.parent / "recipe.yaml").read_text()
