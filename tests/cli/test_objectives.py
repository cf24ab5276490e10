"""Several objectives and filters, from the study file to the report."""

from __future__ import annotations

import json

import pytest

from bmerge.recipe import load_recipe

SEVERAL = """\
scorers:
  - {name: brightness, target: 1.0, label: bright}
  - {name: brightness, target: 0.0, label: dark, only: world}
  - {name: contrast}
normalise: zscore
objectives:
  light: {bright: 1, contrast: 0.1}
  shade: {dark: 1}
optimiser: {name: OPTIMISER, init_points: 2, n_iters: 3}
"""


@pytest.fixture
def several(study_file):
    """The study file with three scorers in two objectives; returns a function of the optimiser."""

    def write(optimiser):
        head = study_file.read_text().split("scorers:")[0]
        head = head.replace("[hello, world]", "[hello, {prompt: hello, tags: world}]")
        study_file.write_text(head + SEVERAL.replace("OPTIMISER", optimiser))

    return write


def test_front_is_shown_and_its_recipes_merge(bmerge, several, example, tmp_path):
    several("random")
    called = bmerge("run", "study.yaml", *example)
    assert called.status == 0, called.err
    data = json.loads(bmerge("studies", "show", "runs/small", "--json").out)
    assert data["objectives"] == ["light", "shade"]
    trials = data["trials"]
    assert all(len(trial["values"]) == 2 for trial in trials)
    best = max(trials, key=lambda trial: sum(trial["values"]))
    assert data["best"] == best
    assert best["number"] in data["front"]
    assert f"front       {len(data['front'])} merges" in called.out
    for number in data["front"]:
        recipe = tmp_path / f"runs/small/front/trial-{number:04d}.yaml"
        if trials[number]["model"] is None:
            assert load_recipe(recipe).method == "from_middle"
        assert bmerge("merge", recipe, "-o", f"{number}.safetensors", *example).status == 0
    for trial in trials:
        assert [set(p["scores"]) for p in trial["pictures"]] == [
            {"bright", "contrast"}, {"bright", "dark", "contrast"},
        ]  # fmt: skip


def test_table_has_a_column_for_each_objective_and_marks_the_front(bmerge, several, example):
    several("random")
    bmerge("run", "study.yaml", *example)
    data = json.loads(bmerge("studies", "show", "runs/small", "--json").out)
    head, *lines = bmerge("studies", "show", "runs/small").out.splitlines()
    assert head.split() == ["trial", "state", "phase", "source", "score", "light", "shade"]
    marked = [int(line.split()[0]) for line in lines if line.endswith("front")]
    assert marked == data["front"]
    assert sum(line.endswith("best, front") for line in lines) == 1


def test_report_shows_the_front(bmerge, several, example, tmp_path):
    several("random")
    bmerge("run", "study.yaml", *example)
    page = (tmp_path / "runs/small/report.html").read_text()
    assert "scored by light (bright + 0.1 × contrast) and shade (dark), scores as z-scores" in page
    assert page.count('class="trial front"') + page.count('class="trial winner front"') == len(
        json.loads(bmerge("studies", "show", "runs/small", "--json").out)["front"]
    )
    assert "front/trial-" in page


def test_optimiser_of_one_objective_is_refused(bmerge, several, example):
    several("walk")
    called = bmerge("run", "study.yaml", *example)
    assert called.status == 1
    assert "the optimiser 'walk' handles only one objective" in called.err
    assert "several: gp, grid, nsga2, qmc, random, tpe" in called.err


def test_what_breaks_a_constraint_is_marked(bmerge, study_file, example):
    text = study_file.read_text().split("scorers:")[0]
    text += "scorers: [{name: brightness, target: 1.0, label: bright}]\n"
    text += "constraints: [{scorer: bright, model: b}]\n"
    study_file.write_text(text + "optimiser: {name: random, init_points: 2, n_iters: 1}\n")
    assert bmerge("run", "study.yaml", *example).status == 0
    trials = json.loads(bmerge("studies", "show", "runs/small", "--json").out)["trials"]
    (rival,) = [trial for trial in trials if trial["source"] == "model b"]
    low = [t["scores"]["bright"] < rival["scores"]["bright"] for t in trials]
    assert any(low)
    assert [bool(t["broken"]) for t in trials] == low
    lines = bmerge("studies", "show", "runs/small").out.splitlines()[1:]
    assert ["breaks: bright no worse than model b" in line for line in lines] == low
