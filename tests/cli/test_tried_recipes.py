"""Models and recipes under ``try``: trials like all others, which can win and be made again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bmerge import open_checkpoint
from bmerge.testing import write_checkpoint

STEPS = """
models: {x: a.safetensors, y: bright.safetensors}
steps:
  half: {method: weighted_sum, models: [x, y], hyperparameters: {alpha: 0.5}}
  most: {method: weighted_sum, models: [half, y], hyperparameters: {alpha: 0.75}}
result: most
"""


@pytest.fixture
def tried(bmerge, study_file, example, tmp_path):
    """A study that tries a model and a recipe of steps of other models than its own."""
    (tmp_path / "more").mkdir()
    for name, value in (("more/bright", 1.0), ("more/a", 0.0), ("base", 0.4)):
        tensors = {f"layers.{i}.w": np.full((4, 4), value) for i in range(2)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors)
    (tmp_path / "more" / "steps.yaml").write_text(STEPS)
    text = study_file.read_text().replace("target: 1.0", "target: 0.875")
    study_file.write_text(f"{text}try: [base.safetensors, more/steps.yaml]\n")
    ran = bmerge("run", "study.yaml", *example)
    assert ran.status == 0, ran.err
    return ran


def test_the_winner_is_written_with_its_recipe(bmerge, tried, example, tmp_path):
    shown = json.loads(bmerge("studies", "show", "runs/small", "--json").out)
    by_source = {t["source"]: t for t in shown["trials"]}
    assert by_source["base.safetensors"]["state"] == "complete"
    assert shown["best"]["source"] == "steps.yaml"
    assert shown["best"]["params"] == {}
    best = open_checkpoint(tmp_path / "runs/small/best/best.safetensors")
    first = best.tensors["layers.0.w"]
    data = first.file.read_bytes()[first.offset : first.offset + first.nbytes]
    kind = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[first.dtype]
    assert np.frombuffer(data, kind).tolist() == [0.875] * 16
    again = bmerge("merge", "runs/small/best/recipe.yaml", "-o", "again.safetensors", *example)
    assert again.status == 0
    one, two = (tmp_path / f for f in ("again.safetensors", "runs/small/best/best.safetensors"))
    assert one.read_bytes() == two.read_bytes()


def test_a_study_goes_on_with_them_alone(bmerge, tried, study_file, example, tmp_path):
    assert bmerge("run", "study.yaml", "--trials", "12", *example).status == 0
    (tmp_path / "more" / "steps.yaml").write_text(STEPS.replace("0.75", "0.5"))
    other = bmerge("run", "study.yaml", *example)
    assert (other.status, "was made with different weights of try" in other.err) == (1, True)
