"""PickScore: CLIP ViT-H/14 trained on the pictures that users of a web page picked."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Download, Scorer, ScorerKind, hookimpl, unfolded
from bmerge_plugins.clip import ClipOptions, PromptAgreement
from bmerge_plugins.needs import CLIP

_NAME = "pickscore"
_FILE = Download("yuvalkirstain/PickScore_v1", "model.safetensors", "not stated")


@unfolded
def pickscore(*, clip: ClipOptions = ClipOptions(model="ViT-H-14")) -> Scorer:
    """Make the scorer: exp(logit scale) · cos of picture and prompt.

    After Kirstain et al., "Pick-a-Pic: an open dataset of user preferences for text-to-image
    generation", NeurIPS 2023.

    Args:
        clip: the model that the weights are of, and how it runs.

    Returns:
        A scorer with range -100 … 100, of which 18 … 24 is used.

    Raises:
        ScorerError: if an option makes no sense, or the weights are not there.
    """
    tower = clip.open(_NAME, download=_FILE)
    factor = tower.logit_scale
    return PromptAgreement(tower, lambda cosine: factor * cosine, batch=clip.batch)


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "what users would pick, about 18 … 24; needs its weights"
    return [ScorerKind(_NAME, pickscore, summary, downloads=(_FILE,), needs=CLIP)]
