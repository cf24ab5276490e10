"""A study that searches how much of a LoRA a model should have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmerge import load_recipe
from bmerge.testing import read_checkpoint, write_checkpoint

PLUGIN = Path(__file__).parents[1] / "plugin_project" / "bmerge_example.py"
STUDY = """
name: small
merge:
  method: weighted_sum
  models: [a.safetensors, {path: a.safetensors, loras: [{path: x.safetensors, weight: 0.5}]}]
space:
  alpha: {per: single}
payloads:
  prompts: [hello]
generator: {name: swatch}
scorers:
  - {name: brightness, target: 1.0}
optimiser: {name: walk, init_points: 2, n_iters: 4}
"""


@pytest.fixture
def run(tmp_path, monkeypatch, bmerge):
    """A dark model and a LoRA that makes it bright; runs the study."""
    monkeypatch.chdir(tmp_path)
    layers = {f"layers.{i}.w.weight": np.full((4, 4), 0.1, "f4") for i in range(2)}
    write_checkpoint(tmp_path / "a.safetensors", layers)
    write_checkpoint(tmp_path / "x.safetensors", {"layers.0.w.diff": np.full((4, 4), 1.6, "f4")})
    (tmp_path / "study.yaml").write_text(STUDY)
    return lambda: bmerge("run", "study.yaml", "--plugin", PLUGIN)


def test_study_finds_how_much_of_a_lora_is_best(run, bmerge, tmp_path):
    called = run()
    assert called.status == 0, called.err
    best = tmp_path / "runs/small/best"
    recipe = load_recipe(best / "recipe.yaml")
    assert recipe.hyperparameters["alpha"].default == 1  # one of the baselines
    assert recipe.models[1].loras[0].path == str(tmp_path / "x.safetensors")
    merged = read_checkpoint(best / "best.safetensors")
    np.testing.assert_allclose(merged["layers.0.w.weight"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(merged["layers.1.w.weight"], 0.1, rtol=1e-6)
    called = bmerge("merge", best / "recipe.yaml", "-o", "again.safetensors")
    assert called.status == 0, called.err
    again = (tmp_path / "again.safetensors").read_bytes()
    assert again == (best / "best.safetensors").read_bytes()
    assert "a + x" in (tmp_path / "runs/small/report.html").read_text()
    write_checkpoint(tmp_path / "x.safetensors", {"layers.0.w.diff": np.ones((4, 4), "f4")})
    called = bmerge("merge", best / "recipe.yaml", "-o", "other.safetensors")
    assert called.status == 1
    assert f"{tmp_path / 'x.safetensors'} is not the file that the recipe was" in called.err
    called = bmerge("merge", best / "recipe.yaml", "-o", "other.safetensors", "--unverified")
    assert called.status == 0, called.err


def test_study_finds_how_much_of_a_lora_each_block_should_have(run, tmp_path):
    both = {
        f"layers.{i}.w.diff": np.full((4, 4), strength, "f4") for i, strength in ((0, 1), (1, -1))
    }
    write_checkpoint(tmp_path / "x.safetensors", both)
    choose = "choose: {models.1.loras.0.weight: {range: [0, 1], blocks: [L00, L01]}}\n"
    text = STUDY.replace(
        "space:\n  alpha: {per: single}", f"{choose}space: {{alpha: {{freeze: 1}}}}"
    )
    (tmp_path / "study.yaml").write_text(text.replace("name: walk", "name: coordinate, points: 2"))
    called = run()
    assert called.status == 0, called.err
    [lora] = load_recipe(tmp_path / "runs/small/best/recipe.yaml").models[1].loras
    assert lora.weights.of("L00") > 0.8
    assert lora.weights.of("L01") < 0.2


def test_study_says_whether_a_lora_may_lack_most_of_its_places(run, tmp_path):
    tensors = read_checkpoint(tmp_path / "x.safetensors")
    lost = {f"layers.{n}.w.diff": np.ones((4, 4), "f4") for n in (5, 6)}
    write_checkpoint(tmp_path / "x.safetensors", {**tensors, **lost})
    called = run()
    assert called.status == 1
    assert "x.safetensors: 2 of its 3 layers do not fit a.safetensors" in called.err
    text = STUDY.replace("merge:\n", "merge:\n  partial_loras: true\n")
    (tmp_path / "study.yaml").write_text(text)
    assert run().status == 0


@pytest.mark.parametrize("change", ["another weight", "another file"])
def test_study_with_another_lora_is_another_study(change, run, tmp_path):
    assert run().status == 0
    if change == "another weight":
        (tmp_path / "study.yaml").write_text(STUDY.replace("weight: 0.5", "weight: 0.6"))
    else:
        lora = {"layers.0.w.diff": np.ones((4, 4), "f4")}
        write_checkpoint(tmp_path / "x.safetensors", lora)
    called = run()
    assert called.status == 1
    assert "was made with different merge.models[1]" in called.err


def test_mistake_in_the_loras_of_a_study_is_one_line(run, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY.replace("weight: 0.5", "wieght: 0.5"))
    called = run()
    assert called.status == 1
    assert "study.yaml:5: unknown key 'wieght'" in called.err


def test_live_models_get_a_lora_too(tmp_path, monkeypatch):
    from bmerge import LoraRef, ModelRef, Recipe, load_registry
    from bmerge.executors import NativeExecutor
    from bmerge.formats import open_checkpoint
    from bmerge.host.loras import add_loras
    from bmerge.pipeline import Merger
    from bmerge.recipe import BlockWeights

    monkeypatch.chdir(tmp_path)
    base = {f"layers.{i}.w.weight": np.full((4, 4), float(i), "f4") for i in range(3)}
    write_checkpoint(tmp_path / "a.safetensors", base)
    write_checkpoint(tmp_path / "x.safetensors", {"layers.1.w.diff": np.ones((4, 4), "f4")})
    registry = load_registry()
    models = (
        ModelRef("a.safetensors"),
        ModelRef("a.safetensors", loras=(LoraRef("x.safetensors"),)),
    )
    checkpoints = [open_checkpoint("a.safetensors")] * 2
    architecture = registry.architectures["sd1"]
    merger = Merger(
        Recipe("weighted_sum", models),
        method=registry.method("weighted_sum"),
        checkpoints=add_loras(models, checkpoints, architecture, tmp_path),
        architecture=architecture,
        executor=NativeExecutor(),
        scratch=tmp_path,
    )
    live = {key: np.full((4, 4), np.nan, "f4") for key in base}
    for alpha in (0.5, 0.25):
        with merger.model({"alpha": BlockWeights(alpha)}) as model:
            model.into(live)
        assert np.all(live["layers.1.w.weight"] == 1 + alpha)
        assert np.all(live["layers.2.w.weight"] == 2)
