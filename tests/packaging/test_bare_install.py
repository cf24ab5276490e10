"""The wheel in an environment of its own, with what it depends on and no extra: the light core."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)


def _requirements(wheel: Path) -> list[str]:
    """Return the distributions that the wheel needs without any extra."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(name))
    wanted = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    return [re.match(r"[\w.-]+", requirement)[0] for requirement in wanted]


def _copy(distribution: str, site: Path) -> None:
    """Install what this environment has installed already, so that nothing is downloaded."""
    for file in importlib.metadata.files(distribution):
        source = Path(file.locate())
        if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, site / file)


@pytest.fixture(scope="session")
def site(wheel, tmp_path_factory) -> Path:
    """Where the packages of the clean environment lie."""
    home = tmp_path_factory.mktemp("clean") / "env"
    venv.create(home, with_pip=False)
    site = next(home.glob("[Ll]ib/**/site-packages"))
    for distribution in _requirements(wheel):
        _copy(distribution, site)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-compile", "--target", str(site), str(wheel)], check=True)
    return site


def test_core_depends_on_few_and_small_libraries(site):
    assert not list(site.glob("torch*"))
    assert not list(site.glob("optuna*"))
    size = sum(file.stat().st_size for file in site.rglob("*") if file.is_file())
    assert not list(site.glob("numpy*"))
    assert size < 60e6


def test_core_merges_inspects_converts_and_bakes_a_lora(site):
    home = next(folder for folder in site.parents if (folder / "pyvenv.cfg").exists())
    python = next(home.glob("[Bb]in/python*"), home / "Scripts" / "python.exe")
    command = [python, "-I", Path(__file__).with_name("smoke.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "merges, inspects, converts and bakes a LoRA\n"
