"""Studies and recipes name their plugins and their inputs: no flags, no stranger's code."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3

import numpy as np
import pytest

from bmerge import load_recipe, open_checkpoint
from bmerge.storage import database, sqlite_file
from bmerge.testing import write_checkpoint

RAN = "from pathlib import Path\nPath('ran').touch()\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A user who has loaded nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def plugin(example, tmp_path, study_file):
    """The example plugin's file, which tells when it is run, beside the study's file."""
    del study_file
    path = tmp_path / "mine.py"
    path.write_text(example[1].read_text() + RAN)
    return path


def has_run(tmp_path):
    mark = tmp_path / "ran"
    found = mark.exists()
    mark.unlink(missing_ok=True)
    return found


@pytest.fixture
def best(bmerge, plugin, tmp_path):
    """The recipe of a finished study of the plugin, whose best is no model as it is."""
    study = tmp_path / "study.yaml"
    study.write_text(study.read_text() + "baselines: false\n")
    called = bmerge("run", "study.yaml", "--trials", "3", "--plugin", plugin)
    assert called.status == 0, called.err
    assert has_run(tmp_path)
    return tmp_path / "runs/small/best/recipe.yaml"


def test_a_study_and_its_best_recipe_need_no_flags(bmerge, best, plugin, tmp_path):
    called = bmerge("run", "study.yaml", "--trials", "5")
    assert called.status == 0, called.err
    assert "continuing: 3 of 5 trials" in called.err
    (ref,) = load_recipe(best).plugins
    assert ref.path == str(plugin)
    assert ref.sha256 == hashlib.sha256(plugin.read_bytes()).hexdigest()
    called = bmerge("merge", best, "-o", "again.safetensors")
    assert called.status == 0, called.err
    again = tmp_path / "again.safetensors"
    assert again.read_bytes() == best.with_name("best.safetensors").read_bytes()
    origin = json.loads(open_checkpoint(again).metadata["bmerge.recipe"])
    assert origin["plugins"] == [{"path": "mine.py", "sha256": ref.sha256}]
    called = bmerge("merge", "again.safetensors", "-o", "rebuilt.safetensors")  # of its metadata
    assert called.status == 0, called.err
    assert (tmp_path / "rebuilt.safetensors").read_bytes() == again.read_bytes()


def test_a_model_as_it_is_needs_no_plugin(bmerge, plugin, tmp_path):
    called = bmerge("run", "study.yaml", "--trials", "2", "--plugin", plugin)
    assert called.status == 0, called.err
    best = tmp_path / "runs/small/best/recipe.yaml"
    assert load_recipe(best).plugins == ()
    assert bmerge("merge", best, "-o", "again.safetensors").status == 0
    again = tmp_path / "again.safetensors"
    assert again.read_bytes() == best.with_name("best.safetensors").read_bytes()


def test_a_locked_study_is_waited_for_once(bmerge, best, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_PATIENCE", 2.0)  # the first try takes a moment
    monkeypatch.setattr(sqlite_file, "AT_ONCE", 0.05)
    held = sqlite3.connect(tmp_path / "runs/small/study.db", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    called = bmerge("run", "study.yaml", "--trials", "5")
    held.close()
    assert called.status == 1
    assert called.err.count("is locked by another program: waiting for it") == 1
    assert "error: runs/small/study.db is locked by another program\n" in called.err


def test_a_recipe_of_a_stranger_runs_no_code(bmerge, best, plugin, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another user"))
    bare = tmp_path / "bare.yaml"
    bare.write_text(best.read_text().replace(f"sha256: {load_recipe(best).plugins[0].sha256}", ""))
    for recipe in (best, bare, best.with_name("best.safetensors")):
        called = bmerge("merge", recipe, "-o", "out.safetensors")
        assert called.status == 1
        assert f"{plugin.name}, which is not known here" in called.err
        assert f"{plugin.name} if you trust it" in called.err
        assert not has_run(tmp_path)
        assert not (tmp_path / "out.safetensors").exists()
    called = bmerge("merge", best, "-o", "out.safetensors", "--plugin", plugin)
    assert called.status == 0, called.err
    assert bmerge("merge", best, "-o", "again.safetensors").status == 0  # it is known now


def test_code_is_never_loaded_from_where_a_recipe_says(bmerge, best, plugin, tmp_path):
    (tmp_path / "trap").mkdir()
    trap = shutil.copy(plugin, tmp_path / "trap" / "mine.py")
    (tmp_path / "trap" / "numpy.py").write_text("raise SystemExit")
    stranger = tmp_path / "stranger.yaml"
    stranger.write_text(best.read_text().replace(str(plugin), str(trap)))
    assert bmerge("merge", stranger, "-o", "out.safetensors").status == 0
    plugin.unlink()
    called = bmerge("merge", stranger, "-o", "two.safetensors")
    assert called.status == 1
    assert not (tmp_path / "two.safetensors").exists()


def test_changed_code_is_told_and_not_run(bmerge, best, plugin, tmp_path):
    plugin.write_text(plugin.read_text() + "\n# changed")
    has_run(tmp_path)
    called = bmerge("merge", best, "-o", "out.safetensors")
    assert called.status == 1
    assert f"needs the plugin {plugin}, which was changed since" in called.err
    called = bmerge("run", "study.yaml", "--trials", "4")
    assert called.status == 1
    assert f"the study in runs/small needs the plugin {plugin}, which was changed" in called.err
    assert not has_run(tmp_path)
    called = bmerge("merge", best, "-o", "out.safetensors", "--plugin", plugin)
    assert called.status == 0
    assert "was made with other code of the plugin" in called.err
    called = bmerge("run", "study.yaml", "--trials", "4", "--plugin", plugin)
    assert called.status == 1
    assert "was made with different merge.code: 'sha256 " in called.err


def test_a_study_file_names_its_plugins(bmerge, plugin, study_file, tmp_path):
    digest = hashlib.sha256(plugin.read_bytes()).hexdigest()
    text = study_file.read_text()
    (tmp_path / "elsewhere").mkdir()
    for entry in ("mine.py", f"{{path: mine.py, sha256: {digest}}}"):
        study_file.write_text(f"{text}plugins: [{entry}]\n")
        called = bmerge("run", study_file, "--trials", "1")
        assert called.status == 0, called.err
    assert bmerge("merge", "runs/small/best/recipe.yaml", "-o", "out.safetensors").status == 0
    has_run(tmp_path)
    study_file.write_text(f"{text}plugins: [{{path: mine.py, sha256: {'a' * 64}}}]\n")
    called = bmerge("run", study_file, "--trials", "1")
    assert called.status == 1
    assert "mine.py is not the plugin that the study file asks for" in called.err
    assert not has_run(tmp_path)


def test_a_plugin_that_only_watches_is_remembered_too(bmerge, plugin, write_plugin, tmp_path):
    watcher = write_plugin(
        "watcher.py",
        """
        from pathlib import Path
        from bmerge import hookimpl

        @hookimpl
        def bmerge_trial_finished(trial):
            Path(f"seen-{trial.number}").touch()
        """,
    )
    bmerge("run", "study.yaml", "--trials", "1", "--plugin", plugin, "--plugin", watcher)
    assert (tmp_path / "seen-0").exists()
    assert bmerge("run", "study.yaml", "--trials", "2").status == 0
    assert (tmp_path / "seen-1").exists()
    watcher.unlink()
    called = bmerge("run", "study.yaml", "--trials", "3")
    assert called.status == 0
    assert f"warning: the study in runs/small needs the plugin {watcher}" in called.err


def test_a_distribution_must_be_there(bmerge, best, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    for entry, status, words in (
        ("distribution: bmerge-nowhere, version: '2.1'", 1, "needs the plugin bmerge-nowhere 2.1"),
        ("distribution: bmerge, version: '0.0.1'", 0, "was made with bmerge 0.0.1, here is "),
    ):
        recipe.write_text(best.read_text() + f"- {{{entry}}}\n")
        called = bmerge("merge", recipe, "-o", "out.safetensors")
        assert called.status == status
        assert words in called.err


THEIRS = """
from bmerge import hookimpl, merge_method


@merge_method
def theirs(a, b):
    "Take the second."
    return b


@hookimpl
def bmerge_merge_methods():
    return [theirs]
"""


def test_an_installed_plugin_is_named_with_version_and_code(
    bmerge, study_file, tmp_path, monkeypatch
):
    site = tmp_path / "site"
    info = site / "bmerge_x-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text("[bmerge]\ntheirs = theirs_of_test\n")
    (info / "METADATA").write_text("Name: bmerge-x\nVersion: 1.2\n")
    (site / "theirs_of_test.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(str(site))
    recipe = study_file.with_name("recipe.yaml")
    recipe.write_text("method: theirs\nmodels: [a.safetensors, b.safetensors]\n")

    def merge():
        return bmerge("merge", recipe, "-o", "out.safetensors", "--force", "--json")

    (entry,) = json.loads(merge().out)["recipe"]["plugins"]
    digest = hashlib.sha256(THEIRS.encode()).hexdigest()
    assert entry == {"distribution": "bmerge-x", "version": "1.2", "sha256": digest}
    recipe.write_text(recipe.read_text() + f"plugins: [{json.dumps(entry)}]\n")
    assert "was made with" not in merge().err
    (site / "theirs_of_test.py").write_text(THEIRS + "# changed")
    called = merge()
    assert called.status == 0
    assert "was made with other code of bmerge-x 1.2 than is here" in called.err
    (info / "METADATA").write_text("Name: bmerge-x\nVersion: 1.3\n")
    assert "was made with bmerge-x 1.2, here is 1.3" in merge().err
    shutil.rmtree(info)
    called = merge()
    assert called.status == 1
    assert "needs the plugin bmerge-x 1.2, which is not loaded" in called.err


def test_the_best_recipe_insists_on_its_inputs(bmerge, best, tmp_path):
    models = load_recipe(best).models
    for model, name in zip(models, "ab", strict=True):
        content = (tmp_path / f"{name}.safetensors").read_bytes()
        assert model.sha256 == hashlib.sha256(content).hexdigest()
    tensors = {f"layers.{i}.w": np.full((4, 4), 0.3) for i in range(2)}
    write_checkpoint(tmp_path / "b.safetensors", tensors)
    called = bmerge("merge", best, "-o", "out.safetensors")
    assert called.status == 1
    assert f"{tmp_path / 'b.safetensors'} is not the file that the recipe was" in called.err
    assert "--unverified" in called.err
    assert not (tmp_path / "out.safetensors").exists()
    assert bmerge("merge", best, "-o", "out.safetensors", "--unverified").status == 0
    called = bmerge("merge", "linear", "a.safetensors", "-o", "x.safetensors", "--unverified")
    assert called.status == 2
