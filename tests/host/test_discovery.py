from __future__ import annotations

import sys

import pytest

from bmerge import PluginError
from bmerge.host import discovery
from bmerge.host.discovery import Candidate


def _candidates(*names: str) -> list[Candidate]:
    return [Candidate(name, lambda: None, "acme", "1") for name in names]


def test_of_path_reads_one_file_by_its_stem(write_plugin):
    (found,) = discovery.of_path(write_plugin("my-method.py", "x = 1"))
    assert found.name == "my-method"
    assert found.load().x == 1


def test_of_path_takes_public_files_of_a_folder_in_order(tmp_path, write_plugin):
    for name in ("b.py", "a.py", "_hidden.py", "notes.txt"):
        write_plugin(name, "")
    assert [c.name for c in discovery.of_path(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.py", "no such plugin file"), ("notes.txt", "is not a plugin"), (".", "no plugin")],
    ids=["missing", "not python", "empty folder"],
)
def test_of_path_refuses(tmp_path, name, message):
    if name == "notes.txt":
        (tmp_path / name).write_text("")
    with pytest.raises(PluginError, match=message):
        discovery.of_path(tmp_path / name)


def test_of_path_imports_nothing_yet(write_plugin):
    discovery.of_path(write_plugin("bomb.py", "raise RuntimeError"))


def test_of_path_leaves_no_module_of_a_broken_file(write_plugin):
    (found,) = discovery.of_path(write_plugin("bomb.py", "raise RuntimeError('bang')"))
    with pytest.raises(RuntimeError, match="bang"):
        found.load()
    assert "bmerge_plugin_file_bomb" not in sys.modules


def test_two_files_of_one_name_are_two_modules(write_plugin):
    one, two = write_plugin("one/same.py", "x = 1"), write_plugin("two/same.py", "x = 2")
    modules = [discovery.of_path(file)[0].load() for file in (one, two)]
    assert [module.x for module in modules] == [1, 2]


def test_restrict_keeps_what_is_named_in_either_way():
    candidates = [*_candidates("a", "b"), Candidate("c", lambda: None, "other", "1")]
    assert [c.name for c in discovery.restrict(candidates, ["a", "other"])] == ["a", "c"]
    assert discovery.restrict(candidates, []) == ()


def test_without_drops_what_is_named_in_either_way():
    candidates = [*_candidates("a", "b"), Candidate("c", lambda: None, "other", "1")]
    assert [c.name for c in discovery.without(candidates, ["a", "other"])] == ["b"]


@pytest.mark.parametrize("choose", [discovery.restrict, discovery.without])
def test_unknown_names_are_errors_with_the_nearest(choose):
    with pytest.raises(PluginError, match="no plugin is called 'alpa'") as caught:
        choose(_candidates("alpha", "beta"), ["alpa"])
    assert caught.value.hint == "did you mean 'alpha'?"


def test_installed_are_the_entry_points_of_bmerge():
    names = {c.name for c in discovery.installed() if c.distribution == "bmerge"}
    assert {"weighted_sum", "add_difference", "tensor_sum", "weighted_subtraction"} <= names
