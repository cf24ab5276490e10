"""Every way of installing has the engine, the built-in plugins with their data, and the core."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"
ENGINE = ROOT / "engine"
USE = """
import sys, site
before = list(sys.path)
site.addsitedir(sys.argv[1])  # heeds .pth files
sys.path[:] = [path for path in sys.path if path not in before] + before
import bmerge
from bmerge import _native
registry = bmerge.load_registry()
broken = [record.error for record in registry.plugins if record.error]
assert not broken, broken
assert {"weighted_sum", "add_difference"} <= set(registry.methods)
assert "sd1" in registry.architectures
print(bmerge.__file__, _native.__version__)
"""


def _expected() -> set[str]:
    """Return the files of engine/ and plugins/ that must be installed."""
    return {
        file.relative_to(root).as_posix()
        for root in (ENGINE, PLUGINS)
        for file in root.rglob("*")
        if file.is_file() and file.suffix != ".so" and "__pycache__" not in file.parts
    }


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _use(wheel: Path, folder: Path) -> str:
    """Install a wheel into a folder and use it from a process that sees nothing else of ours."""
    target = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-compile", "--target", str(target), str(wheel)], check=True)
    result = subprocess.run(
        [sys.executable, "-I", "-c", USE, target],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    "fixture", ["wheel", pytest.param("wheel_of_sdist", marks=pytest.mark.slow)]
)
def test_wheel_has_engine_plugins_and_native_module(fixture, request, tmp_path):
    wheel = request.getfixturevalue(fixture)
    names = _names(wheel)
    assert not _expected() - names
    assert any(name.startswith("bmerge/_native.") for name in names)
    assert any(name.endswith("dist-info/entry_points.txt") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pth")]
    assert str(tmp_path) in _use(wheel, tmp_path)


def test_record_lists_every_file_of_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        listed = {line.split(",")[0] for line in archive.read(record).decode().splitlines()}
        assert archive.testzip() is None
        assert listed == set(archive.namelist())


def test_wheel_for_windows_is_for_the_oldest_python_that_loads_it(wheel, tmp_path):
    """Before 3.11 the library of its stable ABI lacks the buffer protocol."""
    made = tmp_path / wheel.name.replace("linux_x86_64", "win_amd64")
    shutil.copy2(wheel, made)
    code = (
        "import sys; sys.path.insert(0, 'native/packaging'); import pathlib, bmerge_build;"
        f"print(bmerge_build.tagged(pathlib.Path({str(made)!r})).name)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (found,) = tmp_path.iterdir()
    assert done.stdout.strip() == found.name == made.name.replace("cp310", "cp311")
    assert _names(found) == _names(wheel)
    with zipfile.ZipFile(found) as archive:
        (tags,) = [name for name in _names(found) if name.endswith("dist-info/WHEEL")]
        text = archive.read(tags)
        assert b"\nTag: cp311-abi3-" in text
        digest = base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()
        record = archive.read(tags.replace("WHEEL", "RECORD")).decode()
        assert f"{tags},sha256={digest},{len(text)}\n" in record


@pytest.mark.slow
def test_wheels_of_the_tree_and_of_the_sdist_hold_the_same(wheel, wheel_of_sdist):
    assert _names(wheel) == _names(wheel_of_sdist)


def test_sdist_has_what_a_build_needs_and_no_more(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {f"plugins/{file}" for file in _expected() if file.startswith("bmerge_plugins/")}
    needed |= {f"engine/{file}" for file in _expected() if file.startswith("bmerge/")}
    needed |= {"pyproject.toml", "Cargo.toml", "Cargo.lock", "native/packaging/bmerge_build.py"}
    needed |= {"native/packaging/vendored.py", "native/LICENSES.txt", ".cargo/config.toml"}
    assert not needed - names
    assert not [name for name in names if "__pycache__" in name or name.endswith((".so", ".a"))]
    crates = {name.split("/")[1] for name in names if name.startswith("vendor/")}
    assert {"pyo3", "serde", "libc"} <= crates
    assert crates.isdisjoint({"proptest", "criterion", "tempfile"})


def test_licences_are_of_the_crates_that_are_linked(wheel):
    command = [sys.executable, ROOT / "native" / "packaging" / "licences.py", "--print"]
    now = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    written = (ROOT / "native" / "LICENSES.txt").read_text()
    assert now == written, "make licences writes native/LICENSES.txt anew"
    (name,) = [n for n in _names(wheel) if n.endswith("dist-info/licenses/native/LICENSES.txt")]
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(name).decode() == written
    assert len(re.findall(r"^=+\n\S+ [\d.]+: .*(MIT|Apache|BSD)", written, re.MULTILINE)) > 10


def test_editable_install_uses_the_tree(editable, source, tmp_path):
    assert str(source / "engine") in _use(editable, tmp_path)
