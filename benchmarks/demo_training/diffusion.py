"""Stages 3 and 4: a base model that knows some words, and fine-tunes that learn the others.

Velocity prediction on a cosine schedule that ends in pure noise.  The base sees the known colours
and the known shapes only; one fine-tune sees the new shapes too, in known colours, the other one
the new colours, on known shapes.  No model ever sees a new colour on a new shape: only a merge of
the two fine-tunes can paint that.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bmerge_plugins.demo.model import DemoModel
from bmerge_plugins.demo.sampler import signal_and_noise
from bmerge_plugins.demo.words import COLOURS, SHAPES

from .captions import tokens
from .data import KNOWN_COLOURS, KNOWN_SHAPES
from .schedule import Average, Progress, cosine

logger = logging.getLogger(__name__)
BATCH = 32
State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Run:
    """One training run of text encoder and UNet.

    Attributes:
        name: the run's file in the work folder.
        start: the run that it goes on from; None starts anew.
        steps: batches.
        horizon: steps after which the learning rate would be nothing; 0 means ``steps``.
        peak: highest learning rate.
        strength: how far from its start towards the trained weights, and beyond them, the result
            lies. Above 1 for the fine-tunes: half of what they learned, which a merge keeps, is
            then enough to show.
        text: whether the text encoder is trained too.  Fine-tunes leave it as it is, as is usual:
            what one learned about its words would be halved by any merge with the other.
        colours: colours of the pictures that it sees.
        shapes: shapes of the pictures that it sees.
        seed: of captions, noise and the choice of pictures.
        decay: of the averaged weights.
        shift: how much the noisy end is preferred, 1 is not at all.  What a picture shows is
            decided there, its edges elsewhere.
    """

    name: str
    start: str | None
    steps: int
    seed: int
    colours: Sequence[str] = KNOWN_COLOURS
    shapes: Sequence[str] = KNOWN_SHAPES
    peak: float = 2e-3
    decay: float = 0.995
    shift: float = 3.0
    horizon: int = 0
    warm_up: int = 30
    text: bool = True
    strength: float = 1.0

    def pictures(self, labels: np.ndarray) -> np.ndarray:
        """Return the places of the pictures that this run sees; labels are [n, 2]."""
        colours = np.isin(labels[:, 0], [COLOURS.index(c) for c in self.colours])
        return np.flatnonzero(
            colours & np.isin(labels[:, 1], [SHAPES.index(s) for s in self.shapes])
        )


FOUNDATION = Run("foundation", None, 1000, seed=41, shift=1.0, horizon=2800, warm_up=50)
BASE = Run("base", "foundation", 1800, seed=44)
NEW_SHAPES = Run(
    "shapes", "base", 1000, seed=42, peak=1e-3, decay=0.98, text=False, strength=1.5, shapes=SHAPES
)
NEW_COLOURS = Run(
    "colours",
    "base",
    800,
    seed=43,
    peak=1e-3,
    decay=0.98,
    text=False,
    strength=1.5,
    colours=COLOURS,
)
RUNS = (FOUNDATION, BASE, NEW_SHAPES, NEW_COLOURS)


class Denoiser(nn.Module):
    """The two trained parts of the model, as one module."""

    def __init__(self, model: DemoModel) -> None:
        super().__init__()
        self.text_model = model.text_model
        self.unet = model.unet

    def forward(self, noisy: Tensor, steps: Tensor, ids: Tensor) -> Tensor:
        """Predict the velocity of noisy latents, given token ids."""
        velocity: Tensor = self.unet(noisy, steps, self.text_model(ids))
        return velocity


def train(run: Run, model: DemoModel, latents: Tensor, labels: np.ndarray, work: Path) -> None:
    """Train the model in place, or fill it with what a former run left.

    Args:
        run: what to train, and for how long.
        model: where to start from; it holds the averaged weights afterwards.
        latents: [n, 4, 16, 16], of unit variance.
        labels: (colour, shape) of each, [n, 2].
        work: folder for the result and for unfinished states.
    """
    path = work / f"{run.name}.pt"
    if not path.exists():
        torch.manual_seed(run.seed)
        start = {k: v.clone() for k, v in Denoiser(model).state_dict().items()}
        trained = _fit(run, Denoiser(model), latents, labels, path)
        torch.save(_between(start, trained.state_dict(), run.strength), path)
    Denoiser(model).load_state_dict(torch.load(path, weights_only=True))
    model.eval().to(memory_format=torch.contiguous_format)


def _between(start: State, end: State, strength: float) -> State:
    """Return the weights that lie so far on the way from start to end."""
    return {
        key: start[key].lerp(value, strength) if value.is_floating_point() else value
        for key, value in end.items()
    }


def _fit(run: Run, denoiser: Denoiser, latents: Tensor, labels: np.ndarray, path: Path) -> Denoiser:
    rng = np.random.default_rng(run.seed)
    denoiser.train().to(memory_format=torch.channels_last)
    denoiser.text_model.requires_grad_(run.text)
    average = Average(denoiser, run.decay)
    trained = [p for p in denoiser.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=run.peak, weight_decay=1e-3)
    progress = Progress(run.name)
    seen = run.pictures(labels)
    for step in range(run.steps):
        optimiser.param_groups[0]["lr"] = cosine(
            step, run.horizon or run.steps, run.peak, run.warm_up
        )
        chosen = rng.choice(seen, size=BATCH)
        ids = tokens(labels[chosen], rng)
        loss = _loss(denoiser, latents[chosen], ids, run.shift)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimiser.step()
        average.update(denoiser)
        progress.step(step, loss.item())
        if step % 100 == 99:
            torch.save(average.module.state_dict(), path.with_suffix(".part"))
    return average.module


def _loss(denoiser: Denoiser, clean: Tensor, ids: Tensor, shift: float) -> Tensor:
    """Return the velocity's error, each batch spread over all noise steps."""
    n = len(clean)
    places = (torch.randperm(n) + torch.rand(n)) / n
    places = shift * places / (1 + (shift - 1) * places)
    steps = (places * 1000).long().clamp(max=999)
    signal, noise_level = (f[:, None, None, None] for f in signal_and_noise(steps))
    noise = torch.randn_like(clean)
    noisy = signal * clean + noise_level * noise
    velocity = signal * noise - noise_level * clean
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    result: Tensor = (denoiser(noisy, steps, ids) - velocity).square().mean()
    return result
