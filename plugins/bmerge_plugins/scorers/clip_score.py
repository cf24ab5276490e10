"""CLIP score: how well a picture agrees with its prompt, by any model that open_clip knows."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Scorer, ScorerKind, hookimpl
from bmerge_plugins.clip import CLIP_L, RUNNING, PromptAgreement, open_tower
from bmerge_plugins.needs import CLIP

_NAME = "clip_score"


def clip_score(
    *,
    model: str = "ViT-L-14-quickgelu",
    weights: str | None = None,
    scorer_model_dir: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch: int = 16,
) -> Scorer:
    """Make the scorer: 2.5 · max(cos, 0).

    After Hessel et al., "CLIPScore: a reference-free evaluation metric for image captioning",
    EMNLP 2021, but without a text put before the prompt.

    Args:
        model: as open_clip calls it, or ``local-dir:`` and a folder.
        weights: of the model: a path, absolute or within the folder.
        scorer_model_dir: the folder with the weights.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …
        precision: ``fp32``, ``fp16`` or ``bf16``.
        batch: how many pictures go through the model at a time.

    Returns:
        A scorer with range 0 … 2.5.

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
    )
    return PromptAgreement(tower, lambda cosine: 2.5 * max(cosine, 0.0), batch=batch)


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "agreement with the prompt by CLIP, 0 … 2.5; needs CLIP's weights"
    return [
        ScorerKind(_NAME, clip_score, summary, downloads=(CLIP_L,), incidental=RUNNING, needs=CLIP)
    ]
