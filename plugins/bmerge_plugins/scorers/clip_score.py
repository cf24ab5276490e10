"""CLIP score: how well a picture agrees with its prompt, by any model that open_clip knows."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Scorer, ScorerKind, hookimpl, unfolded
from bmerge_plugins.clip import CLIP_L, ClipOptions, PromptAgreement
from bmerge_plugins.needs import CLIP

_NAME = "clip_score"


@unfolded
def clip_score(*, clip: ClipOptions = ClipOptions()) -> Scorer:
    """Make the scorer: 2.5 · max(cos, 0).

    After Hessel et al., "CLIPScore: a reference-free evaluation metric for image captioning",
    EMNLP 2021, but without a text put before the prompt.

    Args:
        clip: the model, and how it runs.

    Returns:
        A scorer with range 0 … 2.5.

    Raises:
        ScorerError: if an option makes no sense, or the weights are not there.
    """
    tower = clip.open(_NAME)
    return PromptAgreement(tower, lambda cosine: 2.5 * max(cosine, 0.0), batch=clip.batch)


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "agreement with the prompt by CLIP, 0 … 2.5; needs CLIP's weights"
    return [ScorerKind(_NAME, clip_score, summary, downloads=(CLIP_L,), needs=CLIP)]
