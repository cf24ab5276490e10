"""Studies that begin with what another one has found: forked, or started warm."""

from __future__ import annotations

import json
import shutil

import pytest

from bmerge.storage.stored import read_study


@pytest.fixture
def study(bmerge, study_file, example):
    """A finished study of eight trials in runs/small."""
    study_file.write_text(study_file.read_text() + "racing: off\n")
    assert bmerge("run", study_file, *example).status == 0
    return study_file


def changed(study, name, *changes):
    text = study.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file = study.with_name(name)
    file.write_text(text)
    return file


def test_a_fork_keeps_the_trials_that_count_and_says_why_others_do_not(
    bmerge, study, example, tmp_path
):
    narrow = changed(
        study, "narrow.yaml", ("[0, 2]", "[0.4, 1.2]"), ("[hello, world]", "[world]"),
        ("n_iters: 3", "n_iters: 6"), ("target: 1.0", "target: 1.0, weight: 2"),
    )  # fmt: skip
    told = bmerge("studies", "fork", "runs/small", narrow, "--out", "new", "--json", *example)
    assert told.status == 0, told.err
    old, new = read_study("runs/small").trials, read_study("new").trials
    fates = {fate["trial"]: fate for fate in json.loads(told.out)}
    assert set(fates) == set(old)
    inside = {
        number
        for number, trial in old.items()
        if trial.proposal.model is not None or 0.4 <= trial.proposal.values["pull"] <= 1.2
    }
    assert 3 <= len(inside) < len(old)
    assert {n for n, fate in fates.items() if fate["now"] is not None} == inside
    for number in set(old) - inside:
        assert "outside" in fates[number]["reason"]
    for number in inside:
        trial, before = new[fates[number]["now"]], old[number]
        (picture,) = trial.pictures
        same = next(p for p in before.pictures if p["id"].startswith("p01"))
        assert picture["scores"] == same["scores"]
        assert trial.score == 2 * same["scores"]["brightness"]
        files = [tmp_path / "new" / picture["file"], tmp_path / "runs/small" / same["file"]]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert f"{len(inside)} of 8 trials count; continue: bmerge run" in told.err
    assert bmerge("run", narrow, "--out", "new", *example).status == 0
    trials = read_study("new").trials
    assert list(trials) == list(range(11))
    assert {n: trials[n] for n in new} == new
    assert [t.proposal.phase for t in trials.values()].count("baseline") == 3
    assert [t.proposal.phase for t in trials.values()].count("init") == 2


def test_a_fork_with_a_prompt_more_has_no_trial_and_one_with_another_model_is_refused(
    bmerge, study, example
):
    more = changed(study, "more.yaml", ("[hello, world]", "[hello, world, again]"))
    told = bmerge("studies", "fork", "runs/small", more, "--out", "more", *example)
    assert told.out.count("it has only 2 of 3 pictures") == 8
    shutil.copy("b.safetensors", "c.safetensors")
    with open("c.safetensors", "r+b") as file:  # noqa: PTH123
        file.seek(-1, 2)
        file.write(b"\x01")
    other = changed(study, "other.yaml", ("b.safetensors", "c.safetensors"))
    told = bmerge("studies", "fork", "runs/small", other, "--out", "other", *example)
    assert told.status == 1
    assert "was made with different merge.models[1]" in told.err
    told = bmerge("studies", "fork", "runs/small", study, "--out", "more", *example)
    assert "/more holds a study already" in told.err


def test_a_fork_with_another_scorer_names_it(bmerge, study, example):
    other = changed(study, "other.yaml", ("target: 1.0", "target: 0.5"))
    told = bmerge("studies", "fork", "runs/small", other, "--out", "other", *example)
    assert told.out.count("it has no scores by 'brightness'") == 8


def test_a_warm_start_tries_the_best_merges_of_another_study_first(bmerge, study, example):
    warm = changed(
        study, "warm.yaml", ("[hello, world]", "[others]"), ("[0, 2]", "[0, 1]"),
        ("racing: off", "racing: off\nwarm_start: {study: runs/small, trials: 2}"),
    )  # fmt: skip
    assert bmerge("run", warm, "--out", "warm", "--trials", "4", *example).status == 0
    shutil.rmtree("runs/small")  # it knows them now
    assert bmerge("run", warm, "--out", "warm", *example).status == 0
    trials = read_study("warm").trials.values()
    first = [t.proposal.source for t in trials][3:5]
    assert first == ["warm start 1", "warm start 2"]
    assert len(trials) == 3 + 2 + 2 + 3
    assert [t.proposal.source for t in trials].count("warm start 1") == 1


def test_a_warm_start_takes_the_best_that_lie_within_the_space(bmerge, study, example):
    old = read_study("runs/small").trials
    warm = changed(study, "warm.yaml", ("racing: off", "racing: off\nwarm_start: runs/small"))
    assert bmerge("run", warm, "--out", "warm", *example).status == 0
    ranked = sorted((t for t in old.values() if t.proposal.weights), key=lambda t: -t.score)
    wanted = list(dict.fromkeys(t.proposal.weights["pull"].default for t in ranked))[:5]
    new = read_study("warm").trials.values()
    got = [t.proposal.values["pull"] for t in new if t.proposal.source.startswith("warm start")]
    assert got == wanted
    far = changed(warm, "far.yaml", ("[0, 2]", "[7, 8]"))
    told = bmerge("run", far, "--out", "far", *example)
    assert "error: no merge of runs/small lies within the space: in trial" in told.err


def test_a_fork_that_was_cut_short_is_no_study_until_it_is_begun_anew(
    bmerge, study, example, tmp_path
):
    obstacle = tmp_path / "new" / "pictures" / "0004"
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("where a folder of pictures should be")
    told = bmerge("studies", "fork", "runs/small", study, "--out", "new", *example)
    assert told.status == 1
    assert "0004" in told.err
    half = bmerge("run", study, "--out", "new", *example)
    assert half.status == 1
    assert "/new was cut short: it lacks trials" in half.err
    assert "the same `bmerge studies fork` begins it anew" in half.err
    obstacle.unlink()
    assert bmerge("studies", "fork", "runs/small", study, "--out", "new", *example).status == 0
    assert bmerge("studies", "fork", "runs/small", study, "--out", "other", *example).status == 0
    trials = read_study("new").trials
    assert trials == read_study("other").trials
    assert len(trials) == 8
    assert all(
        (tmp_path / "new" / p["file"]).is_file() for t in trials.values() for p in t.pictures
    )
