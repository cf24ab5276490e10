from __future__ import annotations

import json

import pytest

from bmerge.testing import read_checkpoint


@pytest.fixture
def study(bmerge, study_file, example):
    """A finished study of three trials in runs/small."""
    assert bmerge("run", "study.yaml", "--trials", "3", *example).status == 0


def test_show_as_json_has_what_scripts_rely_on(bmerge, study):
    data = json.loads(bmerge("studies", "show", "runs/small", "--json").out)
    assert [trial["number"] for trial in data["trials"]] == [0, 1, 2]
    assert [trial["model"] for trial in data["trials"]] == [0, 1, None]
    for trial in data["trials"]:
        assert trial["state"] == "complete"
        assert set(trial["params"]) == ({"pull"} if trial["weights"] else set())
        assert len(trial["values"]) == 1
    best = max(data["trials"], key=lambda trial: trial["values"][0])
    assert data["best"] == best


def test_show_is_a_table_that_marks_the_best(bmerge, study):
    lines = bmerge("studies", "show", "runs/small").out.splitlines()
    assert len(lines) == 4
    assert sum(line.endswith("best") for line in lines) == 1


def test_list_finds_studies_in_subfolders(bmerge, study, example):
    bmerge("run", "study.yaml", "--trials", "1", "--out", "runs/deep/other", *example)
    studies = json.loads(bmerge("studies", "list", "--json").out)
    assert [entry["folder"] for entry in studies] == ["runs/deep/other", "runs/small"]
    assert [entry["trials"] for entry in studies] == [1, 3]
    assert "runs/small" in bmerge("studies", "list").out


def test_list_names_a_study_that_cannot_be_read(bmerge, study, tmp_path):
    (tmp_path / "runs/odd").mkdir()
    (tmp_path / "runs/odd/study.db").write_text("not a database, but long enough to be read " * 9)
    called = bmerge("studies", "list", "--json")
    assert called.status == 0
    assert [entry["folder"] for entry in json.loads(called.out)] == ["runs/small"]
    assert "warning: runs/odd: " in called.err


def test_list_says_if_the_folder_is_not_there(bmerge, tmp_path):
    called = bmerge("studies", "list", tmp_path / "nix")
    assert (called.status, "no such folder" in called.err) == (1, True)


@pytest.mark.parametrize("command", [["studies", "show"], ["report"]], ids=["show", "report"])
def test_folder_without_a_study_is_one_line(bmerge, tmp_path, command):
    called = bmerge(*command, tmp_path)
    assert called.status == 1
    assert called.err.splitlines()[0] == f"error: no study in {tmp_path}"


def test_report_is_written_again(bmerge, study, tmp_path):
    page = tmp_path / "runs/small/report.html"
    page.unlink()
    called = bmerge("report", "runs/small")
    assert (called.status, called.out.strip()) == (0, "runs/small/report.html")
    assert page.read_text().lstrip().lower().startswith("<!doctype html>")


def test_export_and_import(bmerge, study, tmp_path):
    assert bmerge("studies", "export", "runs/small", "-o", "small.jsonl").status == 0
    assert bmerge("studies", "export", "runs/small").out == (tmp_path / "small.jsonl").read_text()
    again = bmerge("studies", "export", "runs/small", "-o", "small.jsonl")
    assert (again.status, again.err.splitlines()[0]) == (1, "error: small.jsonl exists")
    moved = bmerge("studies", "import", "small.jsonl", "--out", "runs/moved")
    assert (moved.status, moved.out) == (0, "small  runs/moved\n")
    one, two = (
        json.loads(bmerge("studies", "show", f"runs/{name}", "--json").out)
        for name in ("small", "moved")
    )
    assert one == two
    again = bmerge("studies", "import", "small.jsonl", "--out", "runs/moved")
    assert (again.status, "holds a study already" in again.err) == (1, True)
    gone = bmerge("studies", "import", "gone.jsonl")
    assert (gone.status, "gone.jsonl cannot be read" in gone.err) == (1, True)


def test_recipe_of_any_trial_is_the_merge_that_it_was(bmerge, study, example, tmp_path):
    trial = json.loads(bmerge("studies", "show", "runs/small", "--json").out)["trials"][2]
    words = ["studies", "recipe", "runs/small"]
    called = bmerge(*words, 2, "-o", "two.yaml")
    assert (called.status, called.out) == (0, "two.yaml\n"), called.err
    assert bmerge(*words, 2).out == (tmp_path / "two.yaml").read_text()
    assert bmerge("merge", "two.yaml", "-o", "two.safetensors").status == 0
    assert bmerge(
        "merge", "from_middle", "a.safetensors", "b.safetensors", "--pull", trial["params"]["pull"],
        "-o", "same.safetensors", *example,
    ).status == 0  # fmt: skip
    two, same = (read_checkpoint(tmp_path / f"{name}.safetensors") for name in ("two", "same"))
    assert {key: value.tobytes() for key, value in two.items()} == {
        key: value.tobytes() for key, value in same.items()
    }
    best = (tmp_path / "runs/small/best/recipe.yaml").read_text()
    texts = [bmerge(*words, number).out for number in range(3)]
    assert texts.count(best) == 1
    assert bmerge(*words, 2, "-o", "two.yaml").err.startswith("error: two.yaml exists")
    missing = bmerge(*words, 9)
    assert (missing.status, missing.out) == (1, "")
    assert "error: the study has no trial 9" in missing.err
