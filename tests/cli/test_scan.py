"""``bmerge scan`` against blocks of which it is known what they do."""

from __future__ import annotations

import json

import pytest

STUDY = """
name: small
merge: {method: weighted_sum, models: [a.safetensors, b.safetensors]}
payloads: {prompts: [hello, world], seeds: [1, 2, 3]}
generator: {name: swatch}
scorers: [{name: brightness, target: 1.0}]
optimiser: {name: random, init_points: 0, n_iters: 4}
racing: off
"""


@pytest.fixture
def study(bmerge, study_file, example):
    """A finished study; its pictures are as bright as the first of two layers."""
    study_file.write_text(STUDY)
    assert bmerge("run", study_file, *example).status == 0


def test_a_scan_finds_the_block_that_matters_and_paints_nothing_twice(
    bmerge, study, example, tmp_path
):
    told = bmerge("scan", "runs/small", "--json", *example)
    assert told.status == 0, told.err
    data = json.loads(told.out)
    assert (data["start"], data["pictures"]) == ("model a", 6)
    first, second = data["effects"]
    assert first["change"] == pytest.approx(0.8, abs=0.01)  # of .1 and .9
    assert first["interval"][0] > 0.79
    assert first["p"] < 1e-6
    assert second["change"] == 0
    assert second["p"] == 1
    page = (tmp_path / "runs/small/scan.html").read_text()
    assert page.index(first["name"]) < page.index(second["name"])
    assert page.count('<img src="data:image/webp') == 3 * 4
    painted = sorted(tmp_path.glob("runs/small/scan/*/*.png"))
    assert len(painted) == 3 * 6
    times = [path.stat().st_mtime_ns for path in painted[1:]]
    painted[0].unlink()  # as if it had been interrupted
    assert json.loads(bmerge("scan", "runs/small", "--json", *example).out) == data
    assert painted[0].is_file()
    assert [path.stat().st_mtime_ns for path in painted[1:]] == times


def test_a_scan_from_the_other_model_and_from_the_best(bmerge, study, example):
    from_b = json.loads(bmerge("scan", "runs/small", "--start", "b", "--json", *example).out)
    assert from_b["start"] == "model b"
    assert from_b["effects"][-1]["change"] == pytest.approx(-0.8, abs=0.01)
    best = bmerge("scan", "runs/small", "--start", "best", "--pictures", "4", *example)
    assert best.out.splitlines()[1].startswith("trial 1 ")  # model b, which is the brightest
    few = bmerge("scan", "runs/small", "--pictures", "2", *example)
    assert "error: 2 pictures of each merge tell nothing of a block" in few.err


def test_a_scan_of_few_pictures_is_of_as_many_prompts_as_there_are(
    bmerge, study_file, example, tmp_path
):
    study_file.write_text(STUDY.replace("hello, world", "a, b, c, d, e, f, g"))
    assert bmerge("run", study_file, "--trials", "2", *example).status == 0
    assert bmerge("scan", "runs/small", "--pictures", "7", *example).status == 0
    painted = {path.name[:3] for path in tmp_path.glob("runs/small/scan/*/*.png")}
    assert painted == {f"p0{prompt}" for prompt in range(7)}


def test_where_the_space_holds_no_models_values_go_to_the_ends_of_their_ranges(
    bmerge, study_file, example
):
    text = STUDY + "space: {alpha: {range: [0, 0.5]}}\n"
    study_file.write_text(text)
    assert bmerge("run", study_file, "--trials", "3", *example).status == 0  # the centre
    told = bmerge("scan", "runs/small", "--json", *example)
    assert told.status == 0, told.err
    data = json.loads(told.out)
    assert data["start"] == "trial 2"
    first, second = data["effects"]
    assert (second["name"][-3:], second["change"]) == ("= 0", pytest.approx(-0.2, abs=0.01))
    assert first["change"] == 0
    refused = bmerge("scan", "runs/small", "--start", "a", *example)
    assert "error: the space does not hold model a as it is" in refused.err


def test_a_scan_of_a_merge_of_steps(bmerge, study_file, example):
    steps = """{
      models: {a: a.safetensors, b: b.safetensors},
      steps: {
        half: {method: weighted_sum, models: [a, b]},
        out: {method: weighted_sum, models: [a, half], hyperparameters: {alpha: 1}},
      }}
"""
    merge = "{method: weighted_sum, models: [a.safetensors, b.safetensors]}\n"
    assert merge in STUDY
    study_file.write_text(STUDY.replace(merge, steps))
    assert bmerge("run", study_file, "--trials", "3", *example).status == 0
    told = bmerge("scan", "runs/small", *example)
    assert told.status == 0, told.err
    assert told.out.splitlines()[1].startswith("trial 2 ")  # the centre: models are no points here
    assert "half.alpha" in told.out
