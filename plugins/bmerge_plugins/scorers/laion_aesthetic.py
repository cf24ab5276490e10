"""LAION's aesthetic predictors: how much people would like a picture, whatever its prompt.

A head over the normalised embedding that OpenAI's CLIP ViT-L/14 gives of the picture. The heads
come with bmerge; CLIP does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bmerge import Scorer, ScorerError, ScorerKind, hookimpl, unfolded
from bmerge_plugins.clip import (
    CLIP_L,
    SHIPPED,
    Aesthetic,
    ClipOptions,
    Head,
    find_file,
    load_head,
    shipped_head,
)
from bmerge_plugins.needs import CLIP

_NAME = "laion_aesthetic"
_ALIASES: Mapping[str, str] = {"v2": "sac+logos+ava1", "chad": "sac+logos+ava1"}


@unfolded
def laion_aesthetic(*, head: str = "v2", clip: ClipOptions = ClipOptions()) -> Scorer:
    """Make the scorer.

    Args:
        head: ``v1``, ``v2`` (also ``chad``, ``sac+logos+ava1``), ``ava+logos``, or a file.
        clip: the model, and how it runs.

    Raises:
        ScorerError: if an option makes no sense, or a file is not there.
    """
    rates = _head(head, clip.scorer_model_dir)
    return Aesthetic(_NAME, clip.open(_NAME), rates, batch=clip.batch)


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
    return [ScorerKind(_NAME, laion_aesthetic, summary, downloads=(CLIP_L,), needs=CLIP)]
