from __future__ import annotations

import os
import sys

import pytest

from bmerge import PluginError
from bmerge.host import discovery, plugin_files
from bmerge.host.discovery import PluginCandidate


def _candidates(*names: str) -> list[PluginCandidate]:
    return [PluginCandidate(name, lambda: None, "acme", "1") for name in names]


def test_of_path_reads_one_file_by_its_stem(write_plugin):
    (found,) = discovery.of_path(write_plugin("my-method.py", "x = 1"))
    assert found.name == "my-method"
    assert found.load().x == 1


def test_file_that_changed_within_a_second_is_not_taken_for_what_it_was(write_plugin, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for text in ("x = 1", "x = 2"):
        file = write_plugin("changing.py", text)
        os.utime(file, (1_700_000_000, 1_700_000_000))
        assert plugin_files.import_file(file).x == int(text[-1])
    assert [path.name for path in file.parent.iterdir()] == ["changing.py"]


HOOK = """
    from bmerge import hookimpl

    @hookimpl
    def bmerge_merge_methods():
        return []
"""
BOMB = "raise RuntimeError('run')\n"


@pytest.mark.parametrize(
    "source",
    [
        HOOK,
        "import bmerge\n\n@bmerge.hookimpl\ndef bmerge_scorers(): return []",
        "from bmerge import hookimpl as mark\n@mark(trylast=True)\ndef anything(): pass",
        "if True:\n    def bmerge_scorers(): return []",
        "try:\n    import x\nexcept ImportError:\n    def bmerge_scorers(): return []",
        "bmerge_scorers = lambda: []",
        "from bmerge_mine import bmerge_scorers",
        "from bmerge import hookimpl\ndef broken(:",
    ],
    ids=["plain", "module", "other name", "if", "try", "assigned", "imported", "broken"],
)
def test_of_path_takes_the_files_of_a_folder_that_define_hooks(tmp_path, write_plugin, source):
    write_plugin("folder/b.py", source)
    write_plugin("folder/a.py", HOOK)
    for name in ("_hidden", "test_a", "a_test", "conftest", "setup"):
        write_plugin(f"folder/{name}.py", HOOK + "    " + BOMB)
    for text in ("", BOMB, "import bmerge_mine", "def f():\n    def bmerge_x(): pass", "x = ("):
        write_plugin(f"folder/other{len(text)}.py", text)
    write_plugin("folder/__pycache__/c.py", HOOK)
    write_plugin("folder/notes.txt", HOOK)
    write_plugin("folder/d.py/e.txt", "a folder with such a name")
    assert [c.name for c in discovery.of_path(tmp_path / "folder")] == ["a", "b"]


def test_folder_without_plugins_says_so(tmp_path, write_plugin):
    write_plugin("folder/helpers.py", BOMB)
    with pytest.raises(PluginError, match="no plugin in the folder") as caught:
        discovery.of_path(tmp_path / "folder")
    assert caught.value.hint == "none of its files defines a hook"


def test_plugin_file_can_import_its_neighbours(write_plugin):
    write_plugin("helpers.py", "value = 'mine'")
    write_plugin("late_neighbour.py", "value = 'late'")
    write_plugin("parts/__init__.py", "from parts.inner import value")
    write_plugin("parts/inner.py", "value = 'inner'")
    source = """
        from helpers import value
        from parts import value as inner

        def later():
            import late_neighbour
            return late_neighbour.value
    """
    module = discovery.of_path(write_plugin("mine.py", source))[0].load()
    assert (module.value, module.inner, module.later()) == ("mine", "inner", "late")


def test_neighbours_of_one_name_are_kept_apart(write_plugin):
    source = "import near_by, near_by_parts.one\nvalue = near_by.value + near_by_parts.one.value"
    for name in ("x", "y", "z"):
        write_plugin(f"{name}/near_by.py", f"value = {name!r}")
        write_plugin(f"{name}/near_by_parts/__init__.py", "")
        write_plugin(f"{name}/near_by_parts/one.py", f"value = '{name}1'")
    files = [write_plugin(f"{name}/plugin_{name}.py", source) for name in ("x", "y", "z")]
    modules = [discovery.of_path(file)[0].load() for file in files]
    assert [module.value for module in modules] == ["xx1", "yy1", "zz1"]
    assert sys.path.count(str(files[0].parent)) == 1


@pytest.fixture(autouse=True)
def own_paths(monkeypatch):
    """Leave the search path, the modules and what is known of folders as they were."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(plugin_files, "_folders", [])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.split(".")[0] in {"helpers", "parts", "late_neighbour", "near_by", "near_by_parts"}:
            del sys.modules[name]


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
    candidates = [*_candidates("a", "b"), PluginCandidate("c", lambda: None, "other", "1")]
    assert [c.name for c in discovery.restrict(candidates, ["a", "other"])] == ["a", "c"]
    assert discovery.restrict(candidates, []) == ()


def test_without_drops_what_is_named_in_either_way():
    candidates = [*_candidates("a", "b"), PluginCandidate("c", lambda: None, "other", "1")]
    assert [c.name for c in discovery.without(candidates, ["a", "other"])] == ["b"]


@pytest.mark.parametrize("choose", [discovery.restrict, discovery.without])
def test_unknown_names_are_errors_with_the_nearest(choose):
    with pytest.raises(PluginError, match="no plugin is called 'alpa'") as caught:
        choose(_candidates("alpha", "beta"), ["alpa"])
    assert caught.value.hint == "did you mean 'alpha'?"


def test_installed_are_the_entry_points_of_bmerge():
    names = {c.name for c in discovery.installed() if c.distribution == "bmerge"}
    assert {"weighted_sum", "add_difference", "tensor_sum", "weighted_subtraction"} <= names
