"""A third party's plugin: a merge method, an optimiser, a scorer and a generator in one file."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image

from bmerge import (
    GeneratorKind,
    OptimiserKind,
    Picture,
    ScorerKind,
    StudyError,
    Weight,
    hookimpl,
    merge_method,
    open_checkpoint,
)


@merge_method(aliases=("mid",))
def from_middle(a, b, *, pull: Weight = 0.5):
    """Start in the middle of two models and go towards b: 1 is b, 0 is their mean.

    Formula: m + pull * (b - m) with m = (a + b) / 2
    """
    middle = (a + b) / 2
    return middle + pull * (b - middle)


class Walk:
    """Takes steps from the best point so far; the steps follow from the seed and their number."""

    def __init__(self, space, seed, budget, *, step: float = 0.2):
        if not step > 0:
            raise StudyError(f"step is {step}, must be above 0")
        self.space, self.seed, self.step = space, seed, step
        self.asks, self.best = 0, None

    def ask(self):
        """Propose a point near the best."""
        rng = random.Random(f"{self.seed}-{self.asks}")
        self.asks += 1
        return {p.name: self._near(p, rng) for p in self.space.parameters}

    def _near(self, p, rng):
        centre = self.best.values[p.name] if self.best else (p.low + p.high) / 2
        width = self.step * (p.high - p.low)
        return min(max(centre + rng.uniform(-width, width), p.low), p.high)

    def tell(self, result):
        """Remember the best."""
        if result.score is not None and (self.best is None or result.score > self.best.score):
            self.best = result

    def replay(self, results):
        """Take up where an earlier run stopped."""
        for result in results:
            self.asks += result.proposed
            self.tell(result)


class Brightness:
    """Scores the mean brightness of a picture, 0 … 1."""

    def __init__(self, *, target: float = 1.0):
        self.target = target

    def score(self, pictures):
        """Return one number for each picture."""
        means = [float(np.asarray(p.image.convert("L")).mean()) / 255 for p in pictures]
        return [1 - abs(mean - self.target) for mean in means]


class Swatch:
    """Paints pictures as bright as the mean of the model's first tensor, with a little noise."""

    def __init__(self, *, side: int = 8):
        self.side = side
        self.level = 0.0

    def load(self, model):
        """Read the first tensor of the merged file."""
        checkpoint = open_checkpoint(model.file())
        first = next(iter(checkpoint.tensors.values()))
        data = first.file.read_bytes()[first.offset : first.offset + first.nbytes]
        self.level = float(np.frombuffer(data, {"F16": "<f2", "F32": "<f4"}[first.dtype]).mean())

    def generate(self, payloads):
        """Yield one picture for each payload."""
        for payload in payloads:
            noise = np.random.default_rng(payload.seed).normal(0, 2, (self.side, self.side, 3))
            pixels = np.clip(self.level * 255 + noise, 0, 255).astype("uint8")
            yield Picture(payload, Image.fromarray(pixels, "RGB"))

    def close(self):
        """Hold nothing."""


@hookimpl
def bmerge_merge_methods():
    return [from_middle]


@hookimpl
def bmerge_optimisers():
    return [OptimiserKind("walk", Walk, "steps from the best point so far")]


@hookimpl
def bmerge_scorers():
    return [ScorerKind("brightness", Brightness, "how near the mean brightness is to a target")]


@hookimpl
def bmerge_generators():
    return [GeneratorKind("swatch", Swatch, "a patch as bright as the model's first tensor")]
