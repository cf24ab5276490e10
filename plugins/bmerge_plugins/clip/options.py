"""From the options that all scorers over CLIP take to a loaded tower."""

from __future__ import annotations

from collections.abc import Mapping

from bmerge import Download, ScorerError
from bmerge_plugins.clip.files import find_file
from bmerge_plugins.clip.load import LOCAL, load_tower
from bmerge_plugins.clip.tower import Tower

__all__ = ["CLIP_L", "RUNNING", "open_tower"]

CLIP_L = Download("openai/clip-vit-large-patch14", "model.safetensors", "MIT")
"""OpenAI's weights of ``ViT-L-14-quickgelu``."""

RUNNING = ("scorer_model_dir", "device", "batch")
"""Options of these scorers that say where and how a model runs: no score depends on them."""

_USUAL: Mapping[str, Download] = {"ViT-L-14-quickgelu": CLIP_L}
"""Where the weights are for models that most people mean."""


def open_tower(
    scorer: str,
    *,
    model: str,
    weights: str | None,
    scorer_model_dir: str | None,
    device: str,
    precision: str,
    batch: int,
    download: Download | None = None,
) -> Tower:
    """Return the tower that a scorer's options describe.

    Args:
        scorer: its name, for messages.
        model: as :func:`~bmerge_plugins.clip.load.load_tower` takes it.
        weights: a path, absolute or within the folder; None for the usual file.
        scorer_model_dir: the folder, or None for the usual one.
        device: as ``load_tower``.
        precision: as ``load_tower``.
        batch: how many pictures go through at a time; checked only.
        download: the usual file, where it follows from the scorer and not from the model.

    Raises:
        ScorerError: if an option makes no sense, or the weights are not there.
    """
    if batch < 1:
        raise ScorerError(f"{scorer}: batch is {batch}, must be 1 or more", blame="study")
    if model.startswith(LOCAL):
        if weights is not None:
            raise ScorerError(
                f"{scorer}: weights and a folder as model exclude each other", blame="study"
            )
        return load_tower(model, None, device=device, precision=precision)
    file = find_file(
        scorer,
        weights=weights,
        scorer_model_dir=scorer_model_dir,
        download=download or _USUAL.get(model),
    )
    return load_tower(model, file, device=device, precision=precision)
