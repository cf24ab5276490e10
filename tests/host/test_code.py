"""Which files are a plugin's code, and what tells one state of it from another."""

from __future__ import annotations

import hashlib

import pytest

from bmerge import PluginError
from bmerge.host.code import code_files, code_sha256


def write(folder, **files):
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def names(folder, file):
    return [path.relative_to(folder).as_posix() for path in code_files(folder / file)]


def test_one_file_has_the_hash_of_its_bytes(tmp_path):
    write(tmp_path, alone="import json\n", beside="")
    assert names(tmp_path, "alone.py") == ["alone.py"]
    assert code_sha256(tmp_path / "alone.py") == hashlib.sha256(b"import json\n").hexdigest()


def test_what_it_imports_from_its_folder_belongs_to_it(tmp_path):
    write(
        tmp_path,
        main="import json, one.deep\nfrom two import x\nfrom . import three\nfrom .four import y",
        two="def later():\n    import five",
        three="",
        four="import main",
        five="",
        six="",
        one__deep="",
        one__other="",
    )
    expected = ["five", "four", "main", "one/deep", "one/other", "three", "two"]
    assert sorted(names(tmp_path, "main.py")) == [f"{name}.py" for name in expected]
    before = code_sha256(tmp_path / "main.py")
    write(tmp_path, six="changed")
    assert code_sha256(tmp_path / "main.py") == before
    write(tmp_path, one__other="changed")
    assert code_sha256(tmp_path / "main.py") != before


def test_the_hash_does_not_depend_on_the_place(tmp_path):
    for place in ("here", "there"):
        write(tmp_path, **{f"{place}__main": "import other", f"{place}__other": "1"})
    assert code_sha256(tmp_path / "here/main.py") == code_sha256(tmp_path / "there/main.py")


def test_a_package_belongs_together(tmp_path):
    write(tmp_path, pack__plugin="", pack__data="", outside="")
    (tmp_path / "pack" / "__init__.py").write_text("")
    before = code_sha256(tmp_path / "pack" / "plugin.py")
    write(tmp_path, outside="changed")
    assert code_sha256(tmp_path / "pack" / "plugin.py") == before
    write(tmp_path, pack__data="changed")
    assert code_sha256(tmp_path / "pack" / "plugin.py") != before


def test_a_file_that_is_no_python_is_hashed_all_the_same(tmp_path):
    write(tmp_path, broken="def (:")
    assert len(code_sha256(tmp_path / "broken.py")) == 64


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(PluginError, match=r"gone\.py cannot be read: No such file"):
        code_sha256(tmp_path / "gone.py")
