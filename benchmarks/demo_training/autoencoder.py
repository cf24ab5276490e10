"""Stage 1: the autoencoder, then the latents of every training picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bmerge_plugins.demo.vae import Autoencoder

from . import data
from .schedule import Average, Progress, cosine

STEPS = 1500
BATCH = 32
PEAK = 3e-3
KL_WEIGHT = 2e-5


def train(work: Path) -> Autoencoder:
    """Train the autoencoder, or load the one a former run left."""
    path = work / "vae.pt"
    if path.exists():
        model = Autoencoder()
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    pictures, _ = data.training_set(work)
    model = _fit(pictures, path)
    latents = encode_all(model, pictures[:: max(1, len(pictures) // 2000)])
    model.standardise(latents.mean((0, 2, 3)), latents.std((0, 2, 3)))
    torch.save(model.state_dict(), path)
    return model


def encode_all(model: Autoencoder, pictures: np.ndarray) -> Tensor:
    """Return the mean latents of uint8 pictures."""
    with torch.inference_mode():
        parts = [
            model.encode(data.to_tensor(p)) for p in np.array_split(pictures, len(pictures) // 64)
        ]
    return torch.cat(parts).clone()


def _fit(pictures: np.ndarray, path: Path) -> Autoencoder:
    torch.manual_seed(11)
    rng = np.random.default_rng(11)
    model = Autoencoder().to(memory_format=torch.channels_last)
    average = Average(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=1e-4)
    progress = Progress("autoencoder")
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = cosine(step, STEPS, PEAK)
        batch = data.to_tensor(pictures[rng.integers(len(pictures), size=BATCH)])
        loss = _loss(model, batch.contiguous(memory_format=torch.channels_last))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update(model)
        progress.step(step, loss.item())
        if step % 200 == 199:
            torch.save(average.module.state_dict(), path.with_suffix(".part"))
    return average.module.to(memory_format=torch.contiguous_format)


def _loss(model: Autoencoder, pictures: Tensor) -> Tensor:
    mean, log_variance = model.moments(pictures)
    decoded = model.decode(mean + torch.randn_like(mean) * (log_variance / 2).exp())
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return (
        functional.l1_loss(decoded, pictures)
        + 2 * functional.mse_loss(decoded, pictures)
        + KL_WEIGHT * kl
    )
