from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bmerge.testing import read_checkpoint, tiny_sd1


def test_new_plugin_works_as_it_is_written(bmerge, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = bmerge("new-plugin", "my-mix")
    assert called.status == 0, called.err
    module = tmp_path / "bmerge-my-mix" / "bmerge_my_mix.py"
    listed = bmerge("methods", "--plugin", module)
    assert "my_mix" in listed.out
    assert 'my_mix = "bmerge_my_mix"' in (module.parent / "pyproject.toml").read_text()


KINDS = {
    "method": "methods",
    "optimiser": "optimisers",
    "scorer": "scorers",
    "generator": "generators",
    "architecture": "architectures",
    "format": "formats",
}


@pytest.fixture(scope="module")
def projects(tmp_path_factory) -> Path:
    """A folder with a project of each kind, called my_KIND."""
    from bmerge.cli import main

    folder = tmp_path_factory.mktemp("projects")
    for kind in KINDS:
        with pytest.raises(SystemExit) as ended:
            main(["new-plugin", f"my_{kind}", "--kind", kind, "--out", str(folder / kind)])
        assert ended.value.code == 0
    return folder


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "format"])
def test_new_plugin_of_each_kind_is_listed(bmerge, projects, kind):
    files = [file.read_text() for file in (projects / kind).rglob("*.*")]
    assert not re.findall(r"@[A-Z]+@", "".join(files))
    module = projects / kind / f"bmerge_my_{kind}.py"
    lines = bmerge(KINDS[kind], "--plugin", module).out.splitlines()
    assert f"my_{kind}" in {line.split()[0] for line in lines}


def test_new_format_is_of_use_once_it_is_installed(bmerge, projects, tmp_path, monkeypatch):
    """By its suffix alone, and where its file is named too."""
    info = projects / "format" / "bmerge_my_format-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: bmerge-my-format\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[bmerge]\nmy_format = bmerge_my_format\n")
    monkeypatch.syspath_prepend(projects / "format")
    first = tiny_sd1(tmp_path / "a.safetensors", 1)
    ours, back = tmp_path / "a.my_format", tmp_path / "back.safetensors"
    for words in (
        ("convert", first, "-o", ours),
        ("diff", first, ours),
        ("inspect", ours),
        ("convert", ours, "-o", back, "--plugin", projects / "format" / "bmerge_my_format.py"),
    ):
        called = bmerge(*words)
        assert called.status == 0, called.err
    assert ours.read_bytes().startswith(b"{")
    a, b = read_checkpoint(first), read_checkpoint(back)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[key], b[key]) for key in a)


def test_new_plugins_pass_their_own_tests(projects):
    paths = [str(projects / kind) for kind in KINDS]
    (projects / "conftest.py").write_text(f"import sys; sys.path += {paths!r}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    result = subprocess.run(command, cwd=projects, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "12 passed" in result.stdout


@pytest.mark.parametrize(
    ("kind", "name", "plugin"),
    [
        ("method", "slerp", "slerp"),
        ("scorer", "clip_score", "clip_score"),
        ("architecture", "sdxl", "builtins"),
        ("scorer", "slerp", None),
    ],
)
def test_new_plugin_is_not_called_like_one_that_there_is(
    bmerge, tmp_path, monkeypatch, kind, name, plugin
):
    monkeypatch.chdir(tmp_path)
    called = bmerge("new-plugin", name, "--kind", kind)
    assert called.status == 1
    if plugin:
        assert f"{kind} {name!r} already, of the plugin {plugin!r}" in called.err
    assert not list(tmp_path.iterdir())


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
    assert (called.status, "is not a name for a plugin" in called.err) == (1, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("class", "a word of Python's own"),
        ("print", "built into Python"),
        ("merge-method", "built into bmerge"),
    ],
)
def test_new_plugin_is_not_called_like_what_python_or_bmerge_has(
    bmerge, tmp_path, monkeypatch, name, fault
):
    monkeypatch.chdir(tmp_path)
    called = bmerge("new-plugin", name)
    hint = f"hint: as in my_{name.replace('-', '_')}\n"
    assert (called.status, called.err) == (1, f"error: {name!r} is {fault}\n{hint}")
    assert not list(tmp_path.iterdir())
