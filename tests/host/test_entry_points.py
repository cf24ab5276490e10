from __future__ import annotations

import importlib.metadata
import json
import sys

import pytest

from bmerge.host.entry_points import entry_points


@pytest.fixture
def distribution(tmp_path):
    """Describe a distribution that is not there."""

    def add(folder: str, text: str, name: str = "Acme-Tools", file: str = "METADATA") -> str:
        place = tmp_path / folder
        place.mkdir(parents=True)
        (place / "entry_points.txt").write_text(text)
        (place / file).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n\nName: x\n")
        return str(place.parent)

    return add


@pytest.mark.parametrize("group", ["bmerge", "console_scripts", "pytest11", "not_there"])
def test_entry_points_are_those_of_importlib(group):
    theirs = importlib.metadata.entry_points(group=group)
    expected = {(e.name, e.value, e.dist.name, e.dist.version) for e in theirs}
    ours = {(e.name, e.value, e.distribution, e.version) for e in entry_points(group)}
    assert ours == expected


def test_only_the_group_is_read(distribution):
    place = distribution("acme_tools-1.0.dist-info", "[a]\nx = p\n# no\n\n[b]\ny=q:r\n[c]\nz = s")
    (entry,) = entry_points("b", [place])
    assert (entry.name, entry.value, entry.module) == ("y", "q:r", "q")
    assert (entry.distribution, entry.version) == ("Acme-Tools", "1.0")


def test_egg_info_is_read_too(distribution):
    place = distribution("acme.egg-info", "[a]\nx = p", file="PKG-INFO")
    assert [entry.name for entry in entry_points("a", [place])] == ["x"]


def test_first_distribution_of_a_name_hides_later_ones(distribution):
    first = distribution("1/acme_tools-2.0.dist-info", "[a]\nx = p")
    second = distribution("2/Acme.Tools-1.0.dist-info", "[a]\nx = q")
    assert [entry.value for entry in entry_points("a", [first, second, first])] == ["p"]


def test_places_that_are_no_folders_are_passed_over(tmp_path):
    (tmp_path / "python.zip").write_bytes(b"")
    assert entry_points("a", [str(tmp_path / "python.zip"), str(tmp_path / "none")]) == []


@pytest.mark.parametrize(
    ("value", "loaded"),
    [("json", json), ("json:loads", json.loads), ("sys:flags.debug [extra]", sys.flags.debug)],
    ids=["module", "object", "attribute"],
)
def test_entry_loads_what_it_names(distribution, value, loaded):
    place = distribution("acme-1.dist-info", f"[a]\nx = {value}")
    (entry,) = entry_points("a", [place])
    assert entry.load() == loaded
