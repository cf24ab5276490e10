"""The scorer that aesthetic predictors share: a head over the embedding of the picture alone."""

from __future__ import annotations

from collections.abc import Sequence

from bmerge import Picture, ScorerError
from bmerge_plugins.batches import FittingBatches
from bmerge_plugins.clip.head import Head
from bmerge_plugins.clip.tower import Tower
from bmerge_plugins.sample import sample_picture

__all__ = ["Aesthetic"]


class Aesthetic:
    """Applies a head to the embeddings of pictures.

    Args:
        name: of the scorer, for messages.
        tower: what embeds them.
        head: what rates an embedding.
        batch: how many pictures go through the model at a time, at most.
    """

    def __init__(self, name: str, tower: Tower, head: Head, *, batch: int) -> None:
        self._name = name
        self._tower = tower
        self._head = head
        self._batches = FittingBatches(batch, tower.memory)

    def check(self, *, paint: bool) -> None:
        """Judge a picture; the weights have been found when it was constructed.

        Raises:
            ScorerError: if that fails.
        """
        if paint:
            self.score([sample_picture()])

    def score(self, pictures: Sequence[Picture]) -> list[float]:
        """Return the head's rating of each picture.

        Raises:
            ScorerError: if the head belongs to another model.
        """
        if not pictures:
            return []
        images = [picture.image for picture in pictures]
        embeddings = self._tower.pictures(images, batches=self._batches)
        width = embeddings.shape[1]
        if width != self._head.width:
            raise ScorerError(
                f"{self._name}: the head is for embeddings of {self._head.width} values, "
                f"the model gives {width}",
                blame="study",
                hint="set model to the one that the head was trained with",
            )
        return self._head(embeddings)
