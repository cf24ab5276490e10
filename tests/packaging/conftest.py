"""A copy of the project to build, and what is built from it, once for all tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILDING = {
    # Compiled dependencies are kept with the project's: nothing is downloaded or built twice.
    "CARGO_TARGET_DIR": str(ROOT / "target"),
    # Its own crates are compiled for each copy, which takes minutes where they are made fast.
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0",
    "CARGO_PROFILE_RELEASE_LTO": "off",
}


def _files() -> list[str]:
    """Return the project's files: what git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in result.stdout.split("\0") if name and (ROOT / name).is_file()]


def build(source: Path, target: Path, *arguments: str, **variables: str) -> Path:
    """Build a distribution with the project's own backend; return the one file made."""
    environment = {**os.environ, **BUILDING, **variables}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target)]
    result = subprocess.run(
        [*command, *arguments, str(source)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    (file,) = target.iterdir()
    return file


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    """A clean copy of the project, as after a clone."""
    folder = tmp_path_factory.mktemp("source")
    for name in _files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def wheel(source, tmp_path_factory) -> Path:
    """The wheel that `pip install .` makes."""
    return build(source, tmp_path_factory.mktemp("wheel"), "--wheel")


@pytest.fixture(scope="session")
def sdist(source, tmp_path_factory) -> Path:
    """The source distribution."""
    return build(source, tmp_path_factory.mktemp("sdist"), "--sdist")


@pytest.fixture(scope="session")
def wheel_of_sdist(sdist, tmp_path_factory) -> Path:
    """The wheel that is built from the source distribution."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    # It holds its crates: nothing that was downloaded before is there, and nothing may be.
    home = tmp_path_factory.mktemp("cargo")
    offline = {"CARGO_HOME": str(home), "CARGO_NET_OFFLINE": "true"}
    return build(unpacked, tmp_path_factory.mktemp("wheel-of-sdist"), "--wheel", **offline)


@pytest.fixture(scope="session")
def editable(source, tmp_path_factory) -> Path:
    """The wheel that `pip install -e .` makes."""
    target = tmp_path_factory.mktemp("editable")
    code = (
        "import sys; sys.path.insert(0, 'native/packaging'); import bmerge_build;"
        f"bmerge_build.build_editable({str(target)!r})"
    )
    environment = {**os.environ, **BUILDING}
    subprocess.run(
        [sys.executable, "-c", code], cwd=source, check=True, capture_output=True, env=environment
    )
    (file,) = target.iterdir()
    return file
