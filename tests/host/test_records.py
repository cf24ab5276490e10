"""What a recipe or a study says of a plugin."""

from __future__ import annotations

import hashlib

from bmerge.host.records import PluginRecord
from bmerge.recipe import PluginRef


def test_ref_of_a_file_has_its_place_and_hash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("1")
    digest = hashlib.sha256(b"1").hexdigest()
    expected = PluginRef(str(tmp_path / "mine.py"), sha256=digest)
    assert PluginRecord("mine", file="mine.py").ref == expected
    assert str(expected) == expected.path


def test_ref_of_an_installed_plugin_has_its_version_and_its_own_code_only(tmp_path):
    for name, text in {"numpy.py": "others'", "theirs.py": "import numpy"}.items():
        (tmp_path / name).write_text(text)
    ref = PluginRecord("theirs", "bmerge-x", "1.2", str(tmp_path / "theirs.py")).ref
    digest = hashlib.sha256(b"import numpy").hexdigest()
    assert ref == PluginRef(None, "bmerge-x", "1.2", digest)
    assert str(ref) == "bmerge-x 1.2"


def test_our_own_plugins_and_objects_without_a_file_have_no_ref(tmp_path):
    assert PluginRecord("ties", "bmerge", "0.1", str(tmp_path / "gone.py")).ref is None
    assert PluginRecord("object").ref is None
