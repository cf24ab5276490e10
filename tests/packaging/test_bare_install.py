"""The wheel in an environment of its own, with what it depends on and no extra: the light core."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import numpy as np
import pytest

from bmerge.testing import read_checkpoint, tiny_sd1, write_checkpoint

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


@pytest.fixture
def run(site, tmp_path) -> Callable[..., str]:
    """Run ``bmerge`` of the clean environment, in a folder with two models."""
    home = next(folder for folder in site.parents if (folder / "pyvenv.cfg").exists())
    python = next(home.glob("[Bb]in/python*"), home / "Scripts" / "python.exe")
    for seed, name in enumerate("ab"):
        tiny_sd1(tmp_path / f"{name}.safetensors", seed)

    def call(*arguments: object) -> str:
        command = [python, "-I", "-m", "bmerge", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_core_depends_on_few_and_small_libraries(site):
    assert not list(site.glob("torch*"))
    assert not list(site.glob("optuna*"))
    size = sum(file.stat().st_size for file in site.rglob("*") if file.is_file())
    assert size < 80e6  # three quarters of it are numpy, for the factors of LoRAs


def test_core_merges_inspects_and_bakes_a_lora(run, tmp_path):
    run("merge", "weighted_sum", "a.safetensors", "b.safetensors", "-o", "mixed.safetensors")
    a, b, mixed = (read_checkpoint(tmp_path / f"{n}.safetensors") for n in ("a", "b", "mixed"))
    key = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"
    np.testing.assert_allclose(mixed[key], (a[key] + b[key]) / 2, atol=1e-3)
    assert json.loads(run("inspect", "mixed.safetensors", "--json"))["architecture"] == "sd1"

    rng = np.random.default_rng(5)
    up, down = rng.standard_normal((a[key].shape[0], 2)), rng.standard_normal((2, a[key].shape[1]))
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    lora = {"lora_up.weight": up, "lora_down.weight": down, "alpha": np.array(1.0)}
    tensors = {f"{layer}.{role}": values.astype("f4") for role, values in lora.items()}
    write_checkpoint(tmp_path / "lora.safetensors", tensors)
    run(
        "merge", "add_difference", "a.safetensors", "--lora", "lora.safetensors=0.8",
        "-o", "baked.safetensors",
    )  # fmt: skip
    baked = read_checkpoint(tmp_path / "baked.safetensors")
    np.testing.assert_allclose(baked[key], a[key] + 0.8 * 0.5 * up @ down, atol=2e-2)
