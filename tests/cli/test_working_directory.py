"""A plugin that changes the working directory takes nothing of a study with it."""

from __future__ import annotations

import pytest

from bmerge import Study
from bmerge.testing import tiny_sd1

PLUGIN = """
import os
from PIL import Image
from bmerge import GeneratorKind, Picture, ScorerKind, hookimpl

class Wanders:
    def load(self, model):
        model.file()
        os.chdir(os.environ["ELSEWHERE"])

    def generate(self, payloads):
        for payload in payloads:
            yield Picture(payload, Image.new("RGB", (8, 8), (9, 9, 9)))

    def close(self):
        pass

class Judge:
    def score(self, pictures):
        return [0.5 for _ in pictures]

@hookimpl
def bmerge_generators():
    return [GeneratorKind("wanders", Wanders, "changes the working directory")]

@hookimpl
def bmerge_scorers():
    return [ScorerKind("judge", Judge, "judges")]
"""
STUDY = """
plugins: [wanders.py]
merge: {method: weighted_sum, models: [a.safetensors, b.safetensors]}
space: {alpha: {range: [0, 1]}}
payloads: {prompts: [x], seeds: [1]}
generator: {name: wanders}
scorers: [{name: judge}]
optimiser: {name: random, init_points: 1, n_iters: 1}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the folder of a study file, where we are, and another one to go to."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for folder in (here, elsewhere):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("ELSEWHERE", str(elsewhere))
    for seed, name in enumerate("ab"):
        tiny_sd1(here / f"{name}.safetensors", seed=seed)
    (here / "wanders.py").write_text(PLUGIN)
    (here / "study.yaml").write_text(STUDY)
    return here


def left_in(here):
    assert not list((here.parent / "elsewhere").iterdir())
    return sorted(str(path.relative_to(here)) for path in (here / "out").rglob("*.*"))


WRITTEN = ["out/best/best.safetensors", "out/best/recipe.yaml"]


def test_a_study_stays_in_its_folder(bmerge, here):
    called = bmerge("run", "study.yaml", "--out", "out")
    assert called.status == 0, called.err
    assert called.out.splitlines()[1:3] == [
        "checkpoint  out/best/best.safetensors", "recipe      out/best/recipe.yaml"
    ]  # fmt: skip
    assert called.out.splitlines()[-1] == "report      out/report.html"
    assert set(WRITTEN) < set(left_in(here))
    assert len([name for name in left_in(here) if name.endswith(".png")]) == 5


def test_a_study_in_python_stays_in_its_folder(here):
    study = Study.load("study.yaml", out="out").run()
    assert len(study.trials) == 5
    assert study.checkpoint == here / "out/best/best.safetensors"
    assert set(WRITTEN) < set(left_in(here))
