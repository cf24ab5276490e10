"""Captions for the training pictures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bmerge_plugins.demo.words import COLOURS, SHAPES, article, tokenise

DROP = 0.1
"""Chance that a colour word, a shape word or the whole caption is left out, for guidance."""

NOISE = 0.1
"""Chance of a word that the vocabulary lacks, so that ``<unk>`` comes to mean nothing much."""

OPENINGS = ("{article} ", "{article} ", "{article} ", "", "the ", "{article} picture of {article} ")


def caption(colour: int, shape: int, rng: np.random.Generator) -> str:
    """Return a caption of a picture of this colour and shape; now and then without a word."""
    if rng.random() < DROP:
        return ""
    words = [COLOURS[colour]] if rng.random() >= DROP else []
    words += [SHAPES[shape]] if rng.random() >= DROP else []
    if rng.random() < NOISE:
        words.insert(int(rng.integers(len(words) + 1)), "qqq")
    opening = OPENINGS[int(rng.integers(len(OPENINGS)))]
    return opening.format(article=article(words[0]) if words else "a") + " ".join(words)


def tokens(labels: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Return token ids [n, positions] of captions for (colour, shape) labels [n, 2]."""
    return torch.tensor([tokenise(caption(int(c), int(s), rng)) for c, s in labels])
