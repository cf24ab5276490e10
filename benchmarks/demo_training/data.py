"""The pictures that everything here is trained on, drawn once from a fixed seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bmerge_plugins.demo import renderer
from bmerge_plugins.demo.words import COLOURS, SHAPES

KNOWN_COLOURS = ("red", "yellow", "green", "blue", "white")
"""Colours that the base learns; the "colours" fine-tune adds the others."""

KNOWN_SHAPES = ("circle", "square", "triangle", "cross", "ring", "diamond")
"""Shapes that the base learns; the "shapes" fine-tune adds the others."""

PER_PAIR = 120
SEED = 1


def draw(per_pair: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw every pair of words; return uint8 pictures [n, 64, 64, 3] and (colour, shape) [n, 2]."""
    rng = np.random.default_rng(seed)
    pairs = [
        (c, s) for _ in range(per_pair) for c in range(len(COLOURS)) for s in range(len(SHAPES))
    ]
    pictures = np.stack([np.asarray(renderer.render(COLOURS[c], SHAPES[s], rng)) for c, s in pairs])
    return pictures, np.array(pairs)


def to_tensor(pictures: np.ndarray) -> Tensor:
    """Turn uint8 pictures [n, h, w, 3] into floats in -1..1, [n, 3, h, w]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def training_set(work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the training pictures and their labels, drawing them on the first call."""
    path = work / "pictures.npz"
    if not path.exists():
        pictures, labels = draw(PER_PAIR, SEED)
        np.savez(path, pictures=pictures, labels=labels)
    with np.load(path) as stored:
        return stored["pictures"], stored["labels"]
