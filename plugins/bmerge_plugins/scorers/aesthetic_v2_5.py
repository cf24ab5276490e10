"""Aesthetic predictor v2.5: a head over SigLIP that also knows illustrations and anime.

The head's licence is AGPL-3.0, so it does not come with bmerge and is not fetched: it is read from
where the user has put it.
"""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Download, Scorer, ScorerError, ScorerKind, hookimpl, unfolded
from bmerge_plugins.clip import Aesthetic, ClipOptions, find_file, load_head
from bmerge_plugins.needs import CLIP

_NAME = "aesthetic_v2_5"
_HEAD = "aesthetic_predictor_v2_5.pth"
_TOWER = Download("timm/ViT-SO400M-14-SigLIP-384", "open_clip_model.safetensors", "Apache-2.0")


@unfolded
def aesthetic_v2_5(
    *, head: str = _HEAD, clip: ClipOptions = ClipOptions(model="ViT-SO400M-14-SigLIP-384")
) -> Scorer:
    """Make the scorer.

    Args:
        head: the file that its author publishes: a path, absolute or within the folder.
        clip: the model, and how it runs.

    Raises:
        ScorerError: if an option makes no sense, or a file is not there.
    """
    try:
        file = find_file(_NAME, weights=head, scorer_model_dir=clip.scorer_model_dir, download=None)
    except ScorerError as error:
        hint = "its licence is AGPL-3.0: get it from github.com/discus0434/aesthetic-predictor-v2-5"
        raise ScorerError(str(error), blame="study", hint=f"{hint}, folder models") from error
    rates = load_head(file)
    return Aesthetic(_NAME, clip.open(_NAME, download=_TOWER), rates, batch=clip.batch)


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "aesthetic predictor v2.5 over SigLIP, 1 … 10; needs its head and SigLIP's weights"
    return [ScorerKind(_NAME, aesthetic_v2_5, summary, downloads=(_TOWER,), needs=CLIP)]
