"""LAION's aesthetic predictors: how much people would like a picture, whatever its prompt.

A head over the normalised embedding that OpenAI's CLIP ViT-L/14 gives of the picture. The heads
come with bmerge; CLIP does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bmerge import Scorer, ScorerError, ScorerKind, hookimpl
from bmerge_plugins.clip import (
    CLIP_L,
    RUNNING,
    SHIPPED,
    Aesthetic,
    Head,
    find_file,
    load_head,
    open_tower,
    shipped_head,
)
from bmerge_plugins.needs import CLIP

_NAME = "laion_aesthetic"
_ALIASES: Mapping[str, str] = {"v2": "sac+logos+ava1", "chad": "sac+logos+ava1"}


def laion_aesthetic(
    *,
    head: str = "v2",
    model: str = "ViT-L-14-quickgelu",
    weights: str | None = None,
    scorer_model_dir: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch: int = 16,
) -> Scorer:
    """Make the scorer.

    Args:
        head: ``v1``, ``v2`` (also ``chad``, ``sac+logos+ava1``), ``ava+logos``, or a file.
        model: as open_clip calls it, or ``local-dir:`` and a folder.
        weights: of the model: a path, absolute or within the folder.
        scorer_model_dir: the folder with the weights.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …
        precision: ``fp32``, ``fp16`` or ``bf16``.
        batch: how many pictures go through the model at a time.

    Raises:
        ScorerError: if an option makes no sense, or a file is not there.
    """
    rates = _head(head, scorer_model_dir)
    tower = open_tower(
        _NAME,
        model=model,
        weights=weights,
        scorer_model_dir=scorer_model_dir,
        device=device,
        precision=precision,
        batch=batch,
    )
    return Aesthetic(_NAME, tower, rates, batch=batch)


def _head(name: str, scorer_model_dir: str | None) -> Head:
    name = _ALIASES.get(name, name)
    if name in SHIPPED:
        return shipped_head(name)
    if not name.endswith((".pth", ".pt", ".safetensors")):
        known = ", ".join((*_ALIASES, *SHIPPED))
        raise ScorerError(
            f"{_NAME}: no head is called {name!r}", blame="study", hint=f"{known}, or a file"
        )
    return load_head(
        find_file(_NAME, weights=name, scorer_model_dir=scorer_model_dir, download=None)
    )


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "LAION's aesthetic predictor over CLIP, mostly 4 … 7; needs CLIP's weights"
    return [
        ScorerKind(
            _NAME, laion_aesthetic, summary, downloads=(CLIP_L,), incidental=RUNNING, needs=CLIP
        )
    ]
