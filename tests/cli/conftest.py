"""Models and study files for the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmerge.testing import tiny_sd1
from example_study import EXAMPLE, write_example_study


@pytest.fixture(scope="session")
def sd1_models(tmp_path_factory) -> list[Path]:
    """Three Stable Diffusion 1 checkpoints with true keys and tiny shapes."""
    folder = tmp_path_factory.mktemp("models")
    return [tiny_sd1(folder / f"{name}.safetensors", seed) for seed, name in enumerate("abc")]


@pytest.fixture
def study_file(tmp_path, monkeypatch) -> Path:
    """A study that takes no time, with the example plugin's parts; its folder is current."""
    monkeypatch.chdir(tmp_path)
    return write_example_study(tmp_path)


@pytest.fixture
def example() -> list[object]:
    """The options that load the example plugin from its file."""
    return ["--plugin", EXAMPLE]
