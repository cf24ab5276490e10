from __future__ import annotations

import subprocess
import sys

import pytest


def test_new_plugin_works_as_it_is_written(bmerge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = bmerge("new-plugin", "my-mix")
    assert called.status == 0, called.err
    module = tmp_path / "bmerge-my-mix" / "bmerge_my_mix.py"
    listed = bmerge("methods", "--plugin", module)
    assert "my_mix" in listed.out
    assert 'my_mix = "bmerge_my_mix"' in (module.parent / "pyproject.toml").read_text()


def test_new_plugin_passes_its_own_tests(bmerge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bmerge("new-plugin", "my_mix", "--out", "project")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    project = tmp_path / "project"
    code = f"import sys; sys.path.insert(0, {str(project)!r})"
    (project / "conftest.py").write_text(code)
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "2 passed" in result.stdout


def test_new_plugin_keeps_what_is_there(bmerge, tmp_path):
    (tmp_path / "precious").mkdir()
    called = bmerge("new-plugin", "my_mix", "--out", tmp_path / "precious")
    assert called.status == 1
    assert "exists" in called.err
    assert not list((tmp_path / "precious").iterdir())


@pytest.mark.parametrize("name", ["My Mix", "1st", "a--b", "mix_", "../x"])
def test_new_plugin_needs_a_proper_name(bmerge, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    called = bmerge("new-plugin", name)
    assert (called.status, "is no name for a plugin" in called.err) == (1, True)
    assert not list(tmp_path.iterdir())


def test_new_plugin_is_not_called_like_a_word_of_python(bmerge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = bmerge("new-plugin", "class")
    assert (called.status, called.err) == (
        1,
        "error: 'class' is a word of Python's own\nhint: as in my_class\n",
    )
    assert not list(tmp_path.iterdir())
