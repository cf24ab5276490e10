"""What the training loops share: learning rate, averaged weights, a line of progress."""

from __future__ import annotations

import copy
import logging
import math
import time
from typing import Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)
logger = logging.getLogger(__name__)


def cosine(step: int, steps: int, peak: float, warm_up: int = 50) -> float:
    """Return the learning rate of a step: linear warm-up, then half a cosine down to nothing."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


class Average(Generic[M]):
    """An exponential moving average of a module's weights."""

    def __init__(self, module: M, decay: float = 0.995) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(requires_grad=False)
        self.decay = decay
        self.count = 0

    @torch.no_grad()
    def update(self, module: M) -> None:
        """Move towards the module's weights; early steps move further, to forget the start."""
        self.count += 1
        keep = min(self.decay, (1 + self.count) / (10 + self.count))
        for mine, theirs in zip(self.module.parameters(), module.parameters(), strict=True):
            mine.lerp_(theirs, 1 - keep)


class Progress:
    """Log the mean loss and the speed every so many steps."""

    def __init__(self, name: str, every: int = 50) -> None:
        self.name, self.every = name, every
        self.losses: list[float] = []
        self.started = time.perf_counter()

    def step(self, step: int, loss: float) -> None:
        """Count a step; log when it is time."""
        self.losses.append(loss)
        if len(self.losses) == self.every:
            elapsed = time.perf_counter() - self.started
            mean = sum(self.losses) / self.every
            logger.info("%s %d loss %.4f, %.0f s", self.name, step + 1, mean, elapsed)
            self.losses.clear()
