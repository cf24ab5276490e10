"""Models and study files for the command line's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmerge.testing import tiny_sd1, write_checkpoint

EXAMPLE = Path(__file__).parents[1] / "plugin_project" / "bmerge_example.py"

STUDY = """
name: small
merge:
  method: from_middle
  models: [a.safetensors, b.safetensors]
space:
  pull: {range: [0, 2], per: single}
payloads:
  prompts: [hello, world]
generator: {name: swatch}
scorers:
  - {name: brightness, target: 1.0}
optimiser: {name: walk, init_points: 2, n_iters: 3}
"""


@pytest.fixture(scope="session")
def sd1_models(tmp_path_factory) -> list[Path]:
    """Three Stable Diffusion 1 checkpoints with true keys and tiny shapes."""
    folder = tmp_path_factory.mktemp("models")
    return [tiny_sd1(folder / f"{name}.safetensors", seed) for seed, name in enumerate("abc")]


@pytest.fixture
def study_file(tmp_path, monkeypatch) -> Path:
    """A study that takes no time, with the example plugin's parts; its folder is current."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("a", 0.1), ("b", 0.9)):
        tensors = {f"layers.{i}.w": np.full((4, 4), value) for i in range(2)}
        write_checkpoint(tmp_path / f"{name}.safetensors", tensors)
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    return file


@pytest.fixture
def example() -> list[object]:
    """The options that load the example plugin from its file."""
    return ["--plugin", EXAMPLE]
