"""Stages 2 and 3: the base model, and its fine-tunes with half-true captions.

Velocity prediction on a cosine schedule that ends in pure noise.  A fine-tune whose captions name
the right shape and any colour keeps drawing shapes and forgets what colour words mean; the other
one the reverse.  Each parent of the demo's merges is so good at exactly one thing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bmerge_plugins.demo.model import DemoModel
from bmerge_plugins.demo.sampler import signal_and_noise

from .captions import Truth, tokens
from .schedule import Average, Progress, cosine

logger = logging.getLogger(__name__)
BATCH = 32


@dataclass(frozen=True, slots=True)
class Run:
    """One training run of text encoder and UNet."""

    name: str
    steps: int
    peak: float
    truth: Truth
    seed: int
    decay: float
    warm_up: int = 50


BASE = Run("base", 3000, 2e-3, Truth.BOTH, seed=21, decay=0.995)
SHAPES = Run("shapes", 250, 6e-4, Truth.SHAPE, seed=22, decay=0.98, warm_up=20)
COLOURS = Run("colours", 250, 6e-4, Truth.COLOUR, seed=23, decay=0.98, warm_up=20)


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
        trained = _fit(run, Denoiser(model), latents, labels, path)
        torch.save(trained.state_dict(), path)
    Denoiser(model).load_state_dict(torch.load(path, weights_only=True))
    model.eval().to(memory_format=torch.contiguous_format)


def _fit(run: Run, denoiser: Denoiser, latents: Tensor, labels: np.ndarray, path: Path) -> Denoiser:
    rng = np.random.default_rng(run.seed)
    denoiser.train().to(memory_format=torch.channels_last)
    average = Average(denoiser, run.decay)
    optimiser = torch.optim.AdamW(denoiser.parameters(), lr=run.peak, weight_decay=1e-3)
    progress = Progress(run.name)
    for step in range(run.steps):
        optimiser.param_groups[0]["lr"] = cosine(step, run.steps, run.peak, run.warm_up)
        chosen = rng.integers(len(latents), size=BATCH)
        loss = _loss(denoiser, latents[chosen], tokens(labels[chosen], run.truth, rng))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimiser.step()
        average.update(denoiser)
        progress.step(step, loss.item())
        if step % 100 == 99:
            torch.save(average.module.state_dict(), path.with_suffix(".part"))
    return average.module


def _loss(denoiser: Denoiser, clean: Tensor, ids: Tensor) -> Tensor:
    """Return the velocity's error, each batch spread evenly over the noise steps."""
    n = len(clean)
    places = (torch.randperm(n) + torch.rand(n)) / n
    steps = (places * 1000).long()
    signal, noise_level = (f[:, None, None, None] for f in signal_and_noise(steps))
    noise = torch.randn_like(clean)
    noisy = signal * clean + noise_level * noise
    velocity = signal * noise - noise_level * clean
    noisy = noisy.contiguous(memory_format=torch.channels_last)
    result: Tensor = (denoiser(noisy, steps, ids) - velocity).square().mean()
    return result
