"""ImageReward: BLIP trained on experts' rankings of pictures for a prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bmerge import Download, Picture, ScorerKind, hookimpl, unfolded
from bmerge_plugins.batches import FittingBatches
from bmerge_plugins.blip import WordPiece, load_reward
from bmerge_plugins.clip import NetworkOptions, find_file, torch_device, torch_dtype
from bmerge_plugins.needs import CLIP
from bmerge_plugins.sample import sample_picture
from bmerge_plugins.torch_options import memory_of

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_NAME = "imagereward"
_FILE = Download("zai-org/ImageReward", "ImageReward.pt", "Apache-2.0")
_VOCABULARY = Download("google-bert/bert-base-uncased", "vocab.txt", "Apache-2.0")
_MEAN, _DEVIATION = 0.16717362830052426, 1.0333394966054072  # of its training pictures
_LENGTH = 35  # tokens of a prompt, the two marks included


class ImageReward:
    """Scores how well people would rank the picture for its prompt, about -2 … 2.

    After Xu et al., "ImageReward: learning and evaluating human preferences for text-to-image
    generation", NeurIPS 2023.

    Args:
        weights: a path, absolute or within the folder; None for the usual file.
        vocabulary: likewise, of BERT's vocabulary.
        network: where its weights are, and how it runs.

    Raises:
        ScorerError: if an option makes no sense, or a file is not there.
    """

    @unfolded
    def __init__(
        self,
        *,
        weights: str | None = None,
        vocabulary: str | None = None,
        network: NetworkOptions = NetworkOptions(),
    ) -> None:
        def find(name: str | None, download: Download) -> Path:
            return find_file(
                _NAME, weights=name, scorer_model_dir=network.scorer_model_dir, download=download
            )

        self._dtype, self._device = torch_dtype(network.precision), torch_device(network.device)
        file = find(weights, _FILE)
        self._tokens = WordPiece(find(vocabulary, _VOCABULARY))
        self._blip, self._head = load_reward(file, self._device, self._dtype)
        self._preprocess = _preprocess(self._blip.side)
        self._batches = FittingBatches(network.batch, memory_of(self._device))

    def check(self, *, paint: bool) -> None:
        """Judge a picture; the weights have been found when it was constructed.

        Raises:
            ScorerError: if that fails.
        """
        if paint:
            self.score([sample_picture()])

    def score(self, pictures: Sequence[Picture]) -> list[float]:
        """Return one number for each picture."""
        values = self._batches.map(self._some, pictures)
        return [(value - _MEAN) / _DEVIATION for value in values]

    def _some(self, pictures: Sequence[Picture]) -> list[float]:
        import torch

        pixels = torch.stack([self._preprocess(p.image.convert("RGB")) for p in pictures])
        ids, mask = self._encode([picture.payload.prompt for picture in pictures])
        with torch.inference_mode():
            shown = self._blip.pictures(pixels.to(self._device, self._dtype))
            seen = self._blip.texts(ids.to(self._device), mask.to(self._device), shown)
        return self._head(seen.double().cpu().numpy())

    def _encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids, padded with 0, and where they are."""
        import torch

        rows = [self._tokens.encode(prompt, _LENGTH) for prompt in prompts]
        ids = torch.tensor([row + [0] * (_LENGTH - len(row)) for row in rows])
        return ids, torch.arange(_LENGTH) < torch.tensor([[len(row)] for row in rows])


def _preprocess(side: int) -> Callable[[Image], Tensor]:
    """Return CLIP's own way from a picture to numbers."""
    import open_clip

    transform: Callable[[Image], Tensor] = open_clip.image_transform(
        side,
        is_train=False,
        mean=open_clip.OPENAI_DATASET_MEAN,
        std=open_clip.OPENAI_DATASET_STD,
    )
    return transform


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "how people would rank it for its prompt, about -2 … 2; needs its weights"
    files = (_FILE, _VOCABULARY)
    return [ScorerKind(_NAME, ImageReward, summary, downloads=files, needs=CLIP)]
