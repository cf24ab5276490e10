"""``bmerge prove`` and ``confirm`` of the study file, with real models."""

from __future__ import annotations

import json

import numpy as np

from bmerge.testing import write_checkpoint


def test_a_study_is_proved_afterwards_with_a_base_and_again(bmerge, study_file, example, tmp_path):
    text = study_file.read_text()
    study_file.write_text(text + "confirm: {pictures: 30}\n")
    ran = bmerge("run", "study.yaml", *example)
    assert ran.status == 0
    assert "fresh score" in ran.out
    tensors = {f"layers.{i}.w": np.full((4, 4), 0.5) for i in range(2)}
    write_checkpoint(tmp_path / "base.safetensors", tensors)
    proved = bmerge("prove", "runs/small", "base.safetensors", "--pictures", "48", *example)
    assert proved.status == 0, proved.err
    rows = proved.out.splitlines()
    assert any(row.startswith("base.safetensors") and " is " in row for row in rows)
    assert "On fresh pictures" in (tmp_path / "runs/small/report.html").read_text()
    stored = json.loads((tmp_path / "runs/small/confirm/pictures.json").read_text())
    names = [c["name"] for c in stored["contenders"]]
    assert names[-1] == "base.safetensors"
    counts = {len(pictures) for pictures in stored["pictures"].values()}
    assert counts == {48 // len(names)}
    two = bmerge(
        "prove", "runs/small", "--trials", "0", "--trials", "1", "--pictures", "8", *example
    )
    assert "trial 1 (model b)" in two.out
    again = json.loads((tmp_path / "runs/small/confirm/pictures.json").read_text())
    assert again["contenders"] == stored["contenders"]


def test_prove_says_what_it_lacks(bmerge, study_file, example):
    assert bmerge("run", "study.yaml", "--trials", "3", *example).status == 0
    few = bmerge("prove", "runs/small", *example)
    assert (few.status, "prove nothing" in few.err) == (1, True)
    other = bmerge("prove", "runs/small", "--trials", "77", *example)
    assert "the study has no trial 77" in other.err
    study_file.rename(study_file.with_name("moved.yaml"))
    gone = bmerge("prove", "runs/small", *example)
    assert (gone.status, "study.yaml is gone" in gone.err, "--study" in gone.err) == (1, True, True)
    study = ["--study", "moved.yaml"]
    assert bmerge("prove", "runs/small", *study, "--pictures", "30", *example).status == 0


def test_prove_says_how_to_have_a_trial_that_is_better(bmerge, study_file, example):
    assert bmerge("run", "study.yaml", "--trials", "3", *example).status == 0
    words = ("prove", "runs/small", "--pictures", "16", *example)
    worse = bmerge(*words, "--trials", 0, "--trials", 1).out
    assert "trial 0 (model a) is worse" in worse
    assert "recipe  of trial 1: bmerge studies recipe runs/small 1 -o FILE.yaml\n" in worse
    assert "recipe" not in bmerge(*words, "--trials", 1, "--trials", 0).out
