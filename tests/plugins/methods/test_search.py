"""A study over a method of many models: a weight for each, options fixed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bmerge.testing import read_checkpoint, write_checkpoint

EXAMPLE = Path(__file__).parents[2] / "plugin_project" / "bmerge_example.py"
STUDY = """
name: small
merge:
  method: linear
  models: [a.safetensors, b.safetensors, c.safetensors]
  options: {normalize: false}
space:
  weight: {range: [0, 2], per: single}
  weight_3: {freeze: 0.5}
payloads:
  prompts: [hello, world]
generator: {name: swatch}
scorers:
  - {name: brightness, target: 1.0}
optimiser: {name: random, init_points: 1, n_iters: 1}
try:
  - {weight: 0.25, weight_2: 0.75, weight_3: 0.5}
"""


@pytest.fixture
def study(tmp_path, monkeypatch, bmerge):
    monkeypatch.chdir(tmp_path)
    for name, value in (("a", 0.1), ("b", 0.9), ("c", 0.4)):
        tensors = {f"layers.{i}.w": np.full((4, 4), value, dtype="<f4") for i in range(2)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors, dtype="F32")
    (tmp_path / "study.yaml").write_text(STUDY)
    return lambda: bmerge("run", "study.yaml", "--plugin", EXAMPLE)


def test_each_model_has_a_dimension(study, bmerge, tmp_path):
    called = study()
    assert called.status == 0, called.err
    trials = json.loads(bmerge("studies", "show", "runs/small", "--json").out)["trials"]
    assert {name for trial in trials for name in trial["params"]} == {"weight_1", "weight_2"}
    tried = next(t["params"] for t in trials if t["params"].get("weight_1") == 0.25)
    assert tried["weight_2"] == 0.75
    best = tmp_path / "runs/small/best"
    recipe = (best / "recipe.yaml").read_text()
    assert "normalize: false" in recipe
    again = bmerge("merge", best / "recipe.yaml", "-o", "again.safetensors")
    assert again.status == 0, again.err
    one, other = (
        read_checkpoint(p) for p in (best / "best.safetensors", tmp_path / "again.safetensors")
    )
    assert all((one[key] == other[key]).all() for key in one)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weight_3: {", "weight_4: {", "unknown hyperparameter 'weight_4'"),
        ("normalize: false", "normalize: maybe", "normalize = maybe is none of true, false"),
        ("weight_2: 0.75", "weight_9: 0.75", "linear has no hyperparameter 'weight_9'"),
    ],
)
def test_mistake_in_the_study_is_an_error(study, tmp_path, old, new, message):
    (tmp_path / "study.yaml").write_text(STUDY.replace(old, new))
    called = study()
    assert called.status == 1
    assert message in called.err
