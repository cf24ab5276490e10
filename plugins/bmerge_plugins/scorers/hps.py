"""Human Preference Score v2 and v2.1: CLIP ViT-H/14 trained on people's choices of pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bmerge import Download, Scorer, ScorerError, ScorerKind, hookimpl, unfolded
from bmerge_plugins.clip import ClipOptions, PromptAgreement
from bmerge_plugins.needs import CLIP

_NAME = "hps"
_FILES: Mapping[str, Download] = {
    "2.0": Download("xswu/HPSv2", "HPS_v2_compressed.pt", "Apache-2.0", optional=True),
    "2.1": Download("xswu/HPSv2", "HPS_v2.1_compressed.pt", "Apache-2.0"),
}


@unfolded
def hps(
    *, version: str | float = "2.1", clip: ClipOptions = ClipOptions(model="ViT-H-14")
) -> Scorer:
    """Make the scorer: the cosine of picture and prompt.

    After Wu et al., "Human Preference Score v2: a solid benchmark for evaluating human
    preferences of text-to-image synthesis", 2023.

    Args:
        version: ``2.0`` or ``2.1``; without effect if ``weights`` is set.
        clip: the model that the weights are of, and how it runs.

    Returns:
        A scorer with range -1 … 1, of which 0.2 … 0.35 is used.

    Raises:
        ScorerError: if an option makes no sense, or the weights are not there.
    """
    number = str(version)  # YAML reads 2.1 as a number
    if number not in _FILES:
        allowed = " or ".join(_FILES)
        raise ScorerError(f"{_NAME}: version is {version!r}, must be {allowed}", blame="study")
    tower = clip.open(_NAME, download=_FILES[number])
    return PromptAgreement(tower, lambda cosine: cosine, batch=clip.batch)


@hookimpl
def bmerge_scorers() -> Iterable[ScorerKind]:
    """Offer the scorer."""
    summary = "human preference score v2.1 or v2, about 0.2 … 0.35; needs its weights"
    return [ScorerKind(_NAME, hps, summary, downloads=tuple(_FILES.values()), needs=CLIP)]
