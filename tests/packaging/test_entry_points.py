"""Files of plugins/ and entry points are the same list, in pyproject.toml and as installed."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

if __import__("sys").version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[2]
KINDS = ("methods", "optimisers", "scorers", "generators")


def _files() -> dict[str, str]:
    plugins = ROOT / "plugins" / "bmerge_plugins"
    return {
        file.stem: f"bmerge_plugins.{kind}.{file.stem}"
        for kind in KINDS
        for file in sorted((plugins / kind).glob("*.py"))
        if not file.name.startswith("_")
    }


def test_every_plugin_file_has_an_entry_point_and_the_other_way_round():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["bmerge"] == _files()


def test_installed_entry_points_are_those_of_the_tree():
    entries = importlib.metadata.entry_points(group="bmerge")
    ours = {entry.name: entry.value for entry in entries if entry.dist.name == "bmerge"}
    assert ours == _files()
