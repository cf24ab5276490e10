"""A study that takes no time, with the parts of the example plugin."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bmerge.testing import write_checkpoint

__all__ = ["EXAMPLE", "STUDY", "write_example_study"]

EXAMPLE = Path(__file__).parent / "plugin_project" / "bmerge_example.py"
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


def write_example_study(folder: Path) -> Path:
    """Write the models and the study's file; return that."""
    for name, value in (("a", 0.1), ("b", 0.9)):
        tensors = {f"layers.{i}.w": np.full((4, 4), value) for i in range(2)}
        write_checkpoint(folder / f"{name}.safetensors", tensors)
    file = folder / "study.yaml"
    file.write_text(STUDY)
    return file
