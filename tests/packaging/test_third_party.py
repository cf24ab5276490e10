"""A plugin project of somebody else: installed by pip, found, and used like ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bmerge.testing import read_checkpoint, write_checkpoint

PROJECT = Path(__file__).parents[1] / "plugin_project"
STUDY = """
merge:
  method: mid
  models: [a.safetensors, b.safetensors]
payloads:
  prompts: [hello, world]
generator: {name: swatch}
scorers: [{name: brightness}]
optimiser: {name: walk, step: 0.3, init_points: 1, n_iters: 2}
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The folder that pip installed the project into; nothing is downloaded."""
    source = tmp_path_factory.mktemp("project") / "source"
    shutil.copytree(PROJECT, source, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command = [*pip, "--no-build-isolation", "--target", str(target), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return target


@pytest.fixture
def run(site, tmp_path):
    """Call bmerge in a process that sees the installed project."""
    for name, value in (("a", 0.1), ("b", 0.9)):
        write_checkpoint(tmp_path / f"{name}.safetensors", {"layers.0.w": np.full((4, 4), value)})
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(site))))

    def call(*arguments: object) -> str:
        result = subprocess.run(
            [sys.executable, "-m", "bmerge.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return call


def test_project_is_as_small_as_promised():
    assert len((PROJECT / "pyproject.toml").read_text().splitlines()) == 8


def test_installed_plugin_is_listed_with_distribution_and_hooks(run):
    (record,) = [r for r in json.loads(run("plugins", "--json")) if r["name"] == "example"]
    assert (record["distribution"], record["version"]) == ("bmerge-example", "0.1.0")
    assert len(record["hooks"]) == 4
    assert record["error"] is None


def test_installed_method_merges(run, tmp_path):
    run(
        "merge",
        "from_middle",
        "a.safetensors",
        "b.safetensors",
        "--pull",
        "0",
        "-o",
        "m.safetensors",
    )
    np.testing.assert_allclose(
        read_checkpoint(tmp_path / "m.safetensors")["layers.0.w"], 0.5, rtol=1e-6
    )


def test_installed_method_optimiser_and_scorer_run_a_study(run, tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    run("run", "study.yaml")
    data = json.loads(run("studies", "show", "runs/study", "--json"))
    sources = [trial["source"] for trial in data["trials"]]
    assert sources[-2:] == ["walk", "walk"]
    for trial in data["trials"]:
        assert trial["state"] == "complete"
        assert set(trial["scores"]) == {"brightness"}
        if trial["model"] is None:
            (pull,) = trial["weights"]["pull"].values()
            expected = 0.5 + pull * 0.4  # the brightness of the merge
        else:
            expected = (0.1, 0.9)[trial["model"]]
        assert trial["values"][0] == pytest.approx(expected, abs=0.01)
