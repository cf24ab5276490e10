"""The method that docs/plugins.md shows first is all there, as a user would look for it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from bmerge.testing import write_checkpoint

PLUGIN = ["--plugin", "inside.py"]
OTHERS = [word for name in ("climb", "warmth", "patch") for word in ("--plugin", f"{name}.py")]


@pytest.fixture
def call(bmerge):
    def call(*words, status=0):
        called = bmerge(*words, *PLUGIN)
        assert called.status == status, called.err
        return called

    return call


def expected(folder, key, alpha):
    """Return what the page's formula says, in double precision."""
    a, b, c = (load_file(folder / f"{n}.safetensors")[key].astype(np.float64) for n in "abc")
    return np.clip(a + alpha * (b - c), np.minimum(a, b), np.maximum(a, b))


def test_it_takes_less_than_fifteen_lines(example_files):
    assert len([line for line in example_files["inside.py"].splitlines() if line.strip()]) < 15


def test_it_is_in_listings_and_help(examples, call):
    listed = {method["name"]: method for method in json.loads(call("methods", "--json").out)}
    assert listed["inside"]["models"] == ["a", "b", "c"]
    text = call("merge", "inside", "--help").out
    assert "--alpha VALUE" in text
    assert "never leave the range of a and b" in text
    assert "clip(a + alpha * (b - c), min(a, b), max(a, b))" in text


def test_it_runs_natively_and_on_torch_to_the_bit_and_is_right(examples, call):
    rng = np.random.default_rng(0)
    for name in "abc":
        tensors = {f"layers.{i}.w": rng.normal(size=(7, 5 + i)) for i in range(4)}
        write_checkpoint(examples / f"{name}.safetensors", tensors, dtype="F16")
    words = ["merge", "inside", *(f"{n}.safetensors" for n in "abc"), "--alpha", "0.3", "--json"]
    executors = {}
    for name in ("native", "torch"):
        options = ["--executor", name, *(["--device", "cpu"] if name == "torch" else [])]
        report = json.loads(call(*words, *options, "-o", f"{name}.safetensors").out)
        executors[name] = report["executor"]
    assert executors["native"] == "native"
    assert executors["torch"].startswith("torch")
    native, torch = (load_file(examples / f"{name}.safetensors") for name in executors)
    for key, value in native.items():
        assert value.tobytes() == torch[key].tobytes()
        np.testing.assert_allclose(value, expected(examples, key, 0.3), rtol=1e-3, atol=1e-4)


def test_recipes_take_it_and_judge_its_hyperparameters(examples, call):
    recipe = examples / "recipe.yaml"
    models = "[a.safetensors, b.safetensors, c.safetensors]"
    recipe.write_text(
        f'method: inside\nmodels: {models}\nhyperparameters:\n  alpha: {{"*": 0.3}}\n'
    )
    call("merge", "recipe.yaml", "-o", "from_recipe.safetensors")
    merged = load_file(examples / "from_recipe.safetensors")
    key = next(key for key in merged if key.endswith("input_blocks.1.0.in_layers.2.weight"))
    np.testing.assert_allclose(merged[key], expected(examples, key, 0.3), rtol=1e-3, atol=1e-4)
    recipe.write_text(f"method: inside\nmodels: {models}\nhyperparameters: {{alhpa: 0.3}}\n")
    refused = call("merge", "recipe.yaml", "-o", "x.safetensors", status=1)
    assert "did you mean 'alpha'" in refused.err


def test_studies_search_its_hyperparameters(examples, call):
    study = examples / "study.yaml"
    study.write_text(study.read_text().replace("space:\n  alpha: {per: single}\n", ""))
    call("run", "study.yaml", *OTHERS)
    shown = json.loads(call("studies", "show", "runs/study", "--json").out)
    searched = {name for trial in shown["trials"] for name in trial["params"]}
    assert {"alpha.IN00", "alpha.M00", "alpha.OUT11"} <= searched


def test_benchmarks_compare_it(examples, call):
    words = ["bench", "methods", "study.yaml", "--trials", 3, *OTHERS, "--json"]
    called = call(*words, "--method", "inside", "--method", "add_difference")
    rows = {(row["name"], row["stage"]): row for row in json.loads(called.out)}
    for stage in ("defaults", "tuned"):
        row = rows["inside", stage]
        assert row["reason"] is None
        assert row["quality_low"] <= row["quality"] <= row["quality_high"]
        assert row["executor"] == "native"
