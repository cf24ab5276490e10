"""Turn prompts and seeds into pictures: DDIM with classifier-free guidance.

A picture depends on its prompt, negative prompt, seed, steps and guidance only: its first noise
comes from a generator of its own, and nothing in the model mixes the pictures of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bmerge_plugins.demo.model import LATENT_SIDE, STEPS, DemoModel
from bmerge_plugins.demo.vae import LATENT_CHANNELS

BATCH = 48
"""Pictures denoised at a time; more are done in turns, to bound the memory."""


def signal_and_noise(steps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosine schedule's share of signal and of noise.

    ``cos(pi t / 2)`` and ``sin(pi t / 2)`` with ``t = (step + 1) / 1000``: the last step is noise
    and nothing else, so the sampler's start is what the model saw in training.
    """
    angle = (steps.double() + 1) / STEPS * (torch.pi / 2)
    return angle.cos().float(), angle.sin().float()


def sample(
    model: DemoModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    negative_prompts: Sequence[str] | None = None,
    steps: int = 12,
    cfg: float = 2.5,
    before_step: Callable[[], None] = lambda: None,
) -> list[Image.Image]:
    """Draw one picture for each prompt.

    Args:
        model: a loaded model; it is used as it is and not changed.
        prompts: what to draw.
        seeds: one for each prompt.
        negative_prompts: what to keep away from, one for each prompt; none means "".
        steps: denoising steps, 1 to 1000.
        cfg: guidance; 1 follows the prompt plainly and ignores the negative one.
        before_step: is called before each step; what it raises ends the sampling.

    Returns:
        64 x 64 RGB pictures, in the order of the prompts.

    Raises:
        ValueError: prompts, seeds and negative prompts differ in number, or steps is out of range.
    """
    negatives = list(negative_prompts) if negative_prompts is not None else [""] * len(prompts)
    if not len(prompts) == len(seeds) == len(negatives):
        message = f"{len(prompts)} prompts, {len(seeds)} seeds, {len(negatives)} negative prompts"
        raise ValueError(message)
    if not 1 <= steps <= STEPS:
        message = f"steps is {steps}, allowed is 1 to {STEPS}"
        raise ValueError(message)
    pictures: list[Image.Image] = []
    with torch.inference_mode():
        for start in range(0, len(prompts), BATCH):
            part = slice(start, start + BATCH)
            text = model.encode_text([*prompts[part], *negatives[part]])
            x = first_noise(seeds[part]).to(text.device)
            latents = _denoise(model, x, text, steps, cfg, before_step)
            pictures += to_pictures(model.first_stage_model.decode(latents))
    return pictures


def first_noise(seeds: Sequence[int]) -> Tensor:
    """Return each seed's noise, [n, 4, 16, 16], drawn on the CPU."""
    shape = (LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE)
    generators = (torch.Generator().manual_seed(seed) for seed in seeds)
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])


def to_pictures(decoded: Tensor) -> list[Image.Image]:
    """Turn decoded values in -1..1, [n, 3, h, w], into RGB pictures."""
    pixels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    arrays = pixels.permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(np.ascontiguousarray(array)) for array in arrays]


def _denoise(
    model: DemoModel,
    x: Tensor,
    text: Tensor,
    steps: int,
    cfg: float,
    before_step: Callable[[], None],
) -> Tensor:
    times = torch.linspace(STEPS - 1, -1, steps + 1).round().long().to(x.device)
    signal, noise = signal_and_noise(times)
    for i in range(steps):
        before_step()
        velocity = _guided(model, x, times[i], text, cfg)
        clean = signal[i] * x - noise[i] * velocity
        remaining = noise[i] * x + signal[i] * velocity
        x = signal[i + 1] * clean + noise[i + 1] * remaining
    return x


def _guided(model: DemoModel, x: Tensor, time: Tensor, text: Tensor, cfg: float) -> Tensor:
    """Return the velocity, pushed from the negative prompt's towards the prompt's.

    ``text`` holds the prompts' states first, the negative prompts' after them.
    """
    result: Tensor
    if cfg == 1:
        result = model.unet(x, time.expand(len(x)), text[: len(x)])
        return result
    both = torch.cat([x, x])
    wanted, unwanted = model.unet(both, time.expand(len(both)), text).chunk(2)
    result = unwanted + cfg * (wanted - unwanted)
    return result
