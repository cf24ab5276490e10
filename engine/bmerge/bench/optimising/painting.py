"""Scores of pictures as they are seen: the quality, and all that hides it.

The figures are those of the demo's own database: pictures of one merge differ by a standard
deviation of 0.3 from each other, two merges on the same picture by 0.04 to 0.08 where they are near
each other, and more the farther they are apart.
"""

from __future__ import annotations

import numpy as np

from bmerge.bench.optimising.landscapes import Array, Landscape

__all__ = ["BETWEEN", "SEEDS", "Painter"]

SEEDS = 2  # of each prompt
BETWEEN, _WHIM, _NOISE = 0.3, 0.1, 0.04  # standard deviations
_LENGTH, _WAVES = 1.5, 64  # of what a prompt likes, over the space


class Painter:
    """Paints a fixed set of pictures, each prompt with two seeds, for any merge.

    Unless a landscape has pictures of its own, a score is the quality, the picture's own offset,
    what its prompt likes at that place (random Fourier features, the same for both seeds), and
    noise.

    Args:
        landscape: the quality.
        pictures: how many there are, those of one prompt beside each other.
        seed: of all that is random.
    """

    def __init__(self, landscape: Landscape, pictures: int, seed: int) -> None:
        own = np.random.default_rng((seed, 2))
        self._own = landscape.painter(own, pictures) if landscape.painter else None
        self._quality = landscape.quality
        self._rng = rng = np.random.default_rng((seed, 1))
        prompts = pictures // SEEDS
        self._offsets = rng.normal(0, BETWEEN, pictures)
        shape = (prompts, _WAVES, landscape.dimensions)
        self._waves = rng.standard_normal(shape) / _LENGTH
        self._phases = rng.uniform(0, 2 * np.pi, shape[:2])
        self.painted = 0
        """How many pictures were painted so far."""

    def score(self, point: Array, picture: int) -> float:
        """Paint one picture and return its score."""
        self.painted += 1
        if self._own is not None:
            return self._own(point, picture)
        prompt = picture // SEEDS
        waves = np.cos(self._waves[prompt] @ point + self._phases[prompt])
        whim = _WHIM * np.sqrt(2 / _WAVES) * waves.sum()
        hidden = self._offsets[picture] + whim + self._rng.normal(0, _NOISE)
        return float(self._quality(point) + hidden)
