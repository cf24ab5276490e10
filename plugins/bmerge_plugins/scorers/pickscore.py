"""PickScore: CLIP ViT-H/14 trained on the pictures that users of a web page picked."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Download, Scorer, ScorerKind, hookimpl
from bmerge_plugins.clip import RUNNING, PromptAgreement, open_tower
from bmerge_plugins.needs import CLIP

_NAME = "pickscore"
_FILE = Download("yuvalkirstain/PickScore_v1", "model.safetensors", "not stated")


def pickscore(
    *,
    model: str = "ViT-H-14",
    weights: str | None = None,
    scorer_model_dir: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch: int = 16,
) -> Scorer:
    """Make the scorer: exp(logit scale) · cos of picture and prompt.

    After Kirstain et al., "Pick-a-Pic: an open dataset of user preferences for text-to-image
    generation", NeurIPS 2023.

    Args:
        model: as open_clip calls the one that the weights are of.
        weights: a path, absolute or within the folder.
        scorer_model_dir: the folder with the weights.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …
        precision: ``fp32``, ``fp16`` or ``bf16``.
        batch: how many pictures go through the model at a time.

    Returns:
        A scorer with range -100 … 100, of which 18 … 24 is used.

    Raises:
        ScorerError: if an option makes no sense, or the weights are not there.
    """
    tower = open_tower(
        _NAME,
        model=model,
        weights=weights,
        scorer_model_dir=scorer_model_dir,
        device=device,
        precision=precision,
        batch=batch,
        download=_FILE,
    )
    factor = tower.logit_scale
    return PromptAgreement(tower, lambda cosine: factor * cosine, batch=batch)


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "what users would pick, about 18 … 24; needs its weights"
    return [
        ScorerKind(_NAME, pickscore, summary, downloads=(_FILE,), incidental=RUNNING, needs=CLIP)
    ]
