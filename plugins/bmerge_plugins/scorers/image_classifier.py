"""Any image classifier that was downloaded as a folder: how probable is one of its labels?

Such as those that tell pretty from plain, anime from photographs, or pictures with faults from
those without. The folder is what the transformers library saves and the Hugging Face hub has;
the library itself is not among bmerge's own dependencies.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmerge import Picture, ScorerError, ScorerKind, hookimpl, nearest, unfolded
from bmerge_plugins.batches import FittingBatches
from bmerge_plugins.clip import NetworkOptions, find_folder, torch_device, torch_dtype
from bmerge_plugins.sample import sample_picture
from bmerge_plugins.torch_options import memory_of

if TYPE_CHECKING:
    from PIL.Image import Image

_NAME = "image_classifier"


class ImageClassifier:
    """Scores the probability of a label, 0 … 1.

    Args:
        folder: with ``config.json``, ``preprocessor_config.json`` and the weights; a path,
            absolute or within ``scorer_model_dir``.
        class_label: one of the classifier's own; in a study file ``label`` names the scorer.
        network: where its weights are, and how it runs.
    """

    @unfolded
    def __init__(
        self, *, folder: str, class_label: str, network: NetworkOptions = NetworkOptions()
    ) -> None:
        place = find_folder(_NAME, folder, scorer_model_dir=network.scorer_model_dir)
        self._dtype = torch_dtype(network.precision)
        self._device = torch_device(network.device)
        self._processor, model = _load(place)
        self._label = _index(class_label, model.config.label2id, place)
        self._model = model.eval().to(self._device, self._dtype)
        self._batches = FittingBatches(network.batch, memory_of(self._device))

    def check(self, *, paint: bool) -> None:
        """Judge a picture; the weights have been found when it was constructed.

        Raises:
            ScorerError: if that fails.
        """
        if paint:
            self.score([sample_picture()])

    def score(self, pictures: Sequence[Picture]) -> list[float]:
        """Return the label's probability for each picture."""
        return self._batches.map(self._some, [picture.image for picture in pictures])

    def _some(self, images: Sequence[Image]) -> Iterator[float]:
        import torch

        inputs = self._processor(images=[i.convert("RGB") for i in images], return_tensors="pt")
        pixels = inputs["pixel_values"].to(self._device, self._dtype)
        with torch.inference_mode():
            logits = self._model(pixel_values=pixels).logits.float()
        yield from logits.softmax(dim=1)[:, self._label].tolist()


def _load(folder: Path) -> tuple[Any, Any]:
    """Return the picture processor and the model of ``folder``; never look elsewhere."""
    try:
        from transformers import AutoImageProcessor, AutoModelForImageClassification
    except ImportError as error:
        message = f"{_NAME} needs the package transformers"
        raise ScorerError(message, blame="study", hint="pip install transformers") from error
    try:
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
            model, info = AutoModelForImageClassification.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ScorerError(
            f"{folder} is not an image classifier: {reason}", blame="study"
        ) from error
    if info["missing_keys"]:  # it has given them random values
        key = min(info["missing_keys"])
        raise ScorerError(
            f"{folder} is not an image classifier: it has no weights for {key}", blame="study"
        )
    return processor, model


def _index(label: str, places: dict[str, int], folder: Path) -> int:
    if len(places) < 2:
        raise ScorerError(
            f"{_NAME}: {folder} has one output only, which is not a probability", blame="study"
        )
    if label not in places:
        message = f"{_NAME}: {folder} has no label {label!r}"
        raise ScorerError(message, blame="study", hint=nearest(label, places))
    return places[label]


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "probability of a label, 0 … 1, by an image classifier in a folder"
    return [
        ScorerKind(
            _NAME,
            ImageClassifier,
            summary,
            needs=("torch", "transformers", "PIL"),
        )
    ]
