"""Stage 4: the judge, trained on worse pictures than it will meet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bmerge_plugins.demo.judge import JudgeNetwork
from bmerge_plugins.demo.vae import Autoencoder
from bmerge_plugins.demo.words import COLOURS, SHAPES

from . import data
from .schedule import Average, Progress, cosine

STEPS = 1500
BATCH = 64
PEAK = 3e-3
EMPTY = 4
"""Pictures of each batch that show nothing, to be answered by "no idea"."""


def train(vae: Autoencoder, latents: Tensor, work: Path) -> JudgeNetwork:
    """Train the judge, or load the one a former run left."""
    path = work / "judge.pt"
    network = JudgeNetwork()
    if not path.exists():
        torch.save(_fit(vae, latents, work).state_dict(), path)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def _fit(vae: Autoencoder, latents: Tensor, work: Path) -> JudgeNetwork:
    torch.manual_seed(31)
    rng = np.random.default_rng(31)
    pictures, labels = data.training_set(work)
    decoded = _decode_noisy(vae, latents)
    network = JudgeNetwork()
    average = Average(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK, weight_decay=1e-2)
    progress = Progress("judge", every=100)
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = cosine(step, STEPS, PEAK)
        chosen = rng.integers(len(pictures), size=BATCH)
        source = decoded if step % 2 else pictures
        batch, colours, shapes = _spoil(data.to_tensor(source[chosen]), labels[chosen])
        colour_logits, shape_logits = network(batch)
        loss = functional.cross_entropy(colour_logits, colours)
        loss = loss + functional.cross_entropy(shape_logits, shapes)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        average.update(network)
        progress.step(step, loss.item())
    return average.module


def _decode_noisy(vae: Autoencoder, latents: Tensor) -> np.ndarray:
    """Return what the autoencoder makes of slightly wrong latents, uint8 [n, 64, 64, 3]."""
    parts = []
    with torch.inference_mode():
        for part in torch.split(latents, 64):
            spread = 0.4 * torch.rand(len(part), 1, 1, 1)
            decoded = vae.decode(part + spread * torch.randn_like(part))
            pixels = ((decoded.clamp(-1, 1) + 1) * 127.5).to(torch.uint8)
            parts.append(pixels.permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)


def _spoil(batch: Tensor, labels: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Add noise, shifts, blends and empty pictures; return them with soft labels."""
    n = len(batch)
    colours = functional.one_hot(torch.from_numpy(labels[:, 0]), len(COLOURS)).float()
    shapes = functional.one_hot(torch.from_numpy(labels[:, 1]), len(SHAPES)).float()
    share = torch.where(torch.rand(n) < 0.7, torch.ones(n), 0.5 + 0.5 * torch.rand(n))
    other = torch.randperm(n)
    batch = _blend(batch, batch[other], share[:, None, None, None])
    colours = _blend(colours, colours[other], share[:, None])
    shapes = _blend(shapes, shapes[other], share[:, None])
    batch[:EMPTY] = batch[:EMPTY].mean((2, 3), keepdim=True) * torch.rand(EMPTY, 1, 1, 1)
    colours[:EMPTY], shapes[:EMPTY] = 1 / len(COLOURS), 1 / len(SHAPES)
    noise = functional.interpolate(torch.randn(n, 3, 16, 16), scale_factor=4.0)
    level = torch.rand(n, 1, 1, 1)
    batch = batch + 0.12 * level * torch.randn_like(batch) + 0.1 * level.flip(0) * noise
    turns = torch.randint(-5, 6, (2,))
    batch = torch.roll(batch, (int(turns[0]), int(turns[1])), (2, 3))
    return batch + 0.08 * torch.randn(n, 1, 1, 1), colours, shapes


def _blend(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return share * one + (1 - share) * other
