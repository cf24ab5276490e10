"""The scorer that several models share: how well does a picture agree with its prompt?

CLIP score, HPS and PickScore differ in the weights and in how the cosine is scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bmerge import Picture
from bmerge_plugins.batches import FittingBatches
from bmerge_plugins.clip.tower import Tower
from bmerge_plugins.sample import sample_picture

__all__ = ["PromptAgreement"]


class PromptAgreement:
    """Scores a function of the cosine between a picture's embedding and its prompt's.

    Args:
        tower: what embeds them.
        scale: maps a cosine, -1 … 1, to the score.
        batch: how many pictures go through the model at a time, at most.
    """

    def __init__(self, tower: Tower, scale: Callable[[float], float], *, batch: int) -> None:
        self._tower = tower
        self._scale = scale
        self._batches = FittingBatches(batch, tower.memory)

    def check(self, *, paint: bool) -> None:
        """Judge a picture; the weights have been found when it was constructed.

        Raises:
            ScorerError: if that fails.
        """
        if paint:
            self.score([sample_picture()])

    def score(self, pictures: Sequence[Picture]) -> list[float]:
        """Return one number for each picture."""
        images = [picture.image for picture in pictures]
        shown = self._tower.pictures(images, batches=self._batches)
        texts = [picture.payload.prompt for picture in pictures]
        asked = self._tower.prompts(texts, batches=self._batches)
        return [self._scale(float(cosine)) for cosine in (shown * asked).sum(axis=1)]
