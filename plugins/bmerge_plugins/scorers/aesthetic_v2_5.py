"""Aesthetic predictor v2.5: a head over SigLIP that also knows illustrations and anime.

The head's licence is AGPL-3.0, so it does not come with bmerge and is not fetched: it is read from
where the user has put it.
"""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import Download, Scorer, ScorerError, ScorerKind, hookimpl
from bmerge_plugins.clip import RUNNING, Aesthetic, find_file, load_head, open_tower
from bmerge_plugins.needs import CLIP

_NAME = "aesthetic_v2_5"
_HEAD = "aesthetic_predictor_v2_5.pth"
_TOWER = Download("timm/ViT-SO400M-14-SigLIP-384", "open_clip_model.safetensors", "Apache-2.0")


def aesthetic_v2_5(
    *,
    head: str = _HEAD,
    model: str = "ViT-SO400M-14-SigLIP-384",
    weights: str | None = None,
    scorer_model_dir: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch: int = 16,
) -> Scorer:
    """Make the scorer.

    Args:
        head: the file that its author publishes: a path, absolute or within the folder.
        model: as open_clip calls it, or ``local-dir:`` and a folder.
        weights: of the model: a path, absolute or within the folder.
        scorer_model_dir: the folder with the weights.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …
        precision: ``fp32``, ``fp16`` or ``bf16``.
        batch: how many pictures go through the model at a time.

    Raises:
        ScorerError: if an option makes no sense, or a file is not there.
    """
    try:
        file = find_file(_NAME, weights=head, scorer_model_dir=scorer_model_dir, download=None)
    except ScorerError as error:
        hint = "its licence is AGPL-3.0: get it from github.com/discus0434/aesthetic-predictor-v2-5"
        raise ScorerError(str(error), blame="study", hint=f"{hint}, folder models") from error
    rates = load_head(file)
    tower = open_tower(
        _NAME,
        model=model,
        weights=weights,
        scorer_model_dir=scorer_model_dir,
        device=device,
        precision=precision,
        batch=batch,
        download=_TOWER,
    )
    return Aesthetic(_NAME, tower, rates, batch=batch)


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "aesthetic predictor v2.5 over SigLIP, 1 … 10; needs its head and SigLIP's weights"
    return [
        ScorerKind(
            _NAME, aesthetic_v2_5, summary, downloads=(_TOWER,), incidental=RUNNING, needs=CLIP
        )
    ]
