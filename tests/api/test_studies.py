"""``bmerge.Study``: the study of the command line, from Python."""

from __future__ import annotations

import builtins
import html
import json
import re
from pathlib import Path

import pytest

import bmerge
from example_study import EXAMPLE, write_example_study

WATCHER = """
from bmerge import hookimpl

@hookimpl
def bmerge_merge_started(plan):
    print("merge", plan.recipe.method)

@hookimpl
def bmerge_trial_finished(trial):
    print("trial", trial.number)
"""


@pytest.fixture
def study_file(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_example_study(tmp_path)


def test_study_runs_goes_on_and_tells_what_the_command_line_tells(study_file, bmerge_command):
    study = bmerge.Study.load(study_file, plugins=[EXAMPLE]).run(trials=4, executor="native")
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3]
    study.run(trials=6)
    shown = json.loads(bmerge_command("studies", "show", study.folder, "--json").out)
    assert [row["score"] for row in study.rows()] == [t["values"][0] for t in shown["trials"]]
    assert study.best.number == shown["best"]["number"]
    assert study.checkpoint.stat().st_size > 0
    assert (study.folder / "report.html").exists()
    bmerge.merge(study.recipe, output="again.safetensors", plugins=[EXAMPLE])
    assert Path("again.safetensors").read_bytes() == study.checkpoint.read_bytes()


def test_table_is_of_pandas_where_there_is_pandas(study_file, monkeypatch):
    study = bmerge.Study.load(study_file, plugins=[EXAMPLE]).run(trials=3)
    frame = study.table()
    assert list(frame["score"]) == [trial.score for trial in study.trials]
    assert {"trial", "state", "brightness", "seconds"} <= set(frame.columns)
    real = builtins.__import__

    def without_pandas(name, *rest):
        if name == "pandas":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    assert study.table() == study.rows()


def test_figures_show_every_trial_in_a_frame_of_their_own(study_file):
    study = bmerge.Study.load(study_file, plugins=[EXAMPLE])
    assert "no trial yet" in study._repr_html_()
    study.run(trials=4)
    shown = bmerge.Study.load(study.folder)._repr_html_()
    (frame, *_) = re.findall(r'srcdoc="(.*?)"', shown, re.DOTALL)
    page = html.unescape(frame)
    assert page == study.figures()["convergence"].page()
    for number in range(4):
        assert f"trial {number} ·" in page


def test_folder_can_be_looked_at_and_not_run(study_file):
    study = bmerge.Study.load(study_file, plugins=[EXAMPLE]).run(trials=3)
    again = bmerge.Study.load(study.folder)
    assert again.best == study.best
    with pytest.raises(bmerge.StudyError, match="is run by its file"):
        again.run()
    with pytest.raises(bmerge.StudyError, match="no study in"):
        bmerge.Study.load(study.folder.parent)


def test_plugins_are_told_of_the_merges_and_trials_of_a_study(study_file, write_plugin, capsys):
    watch = write_plugin("watch.py", WATCHER)
    bmerge.Study.load(study_file, plugins=[EXAMPLE, watch]).run(trials=4)
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("trial")] == [f"trial {n}" for n in range(4)]
    # Every trial is merged once; and the best once more, into its file.
    assert sum(line.startswith("merge") for line in said) == 5
