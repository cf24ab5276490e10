"""What every scorer must keep to."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bmerge.evaluate.protocols import Checked, Payload, Picture, Scorer

__all__ = ["check_scorer", "sample_pictures"]

_TOLERANCE = 1e-5  # batches may be computed in another order


def check_scorer(scorer: Scorer, *, prompts: Sequence[str] = ("a red circle",)) -> None:
    """Check that a scorer can be used in a study.

    It gives one finite number for each picture, whatever their size; the same picture gets the
    same score when it is asked again, alone or among others, in any order; pictures are left as
    they are; no pictures get no scores. Where it has a ``check``, that finds nothing amiss.

    Args:
        scorer: a constructed one.
        prompts: that its pictures are made for, if it does not take any.

    Raises:
        AssertionError: that says what does not hold.
    """
    assert callable(getattr(scorer, "score", None)), "it has no method score"
    if isinstance(scorer, Checked):
        scorer.check(paint=True)
    pictures = sample_pictures(prompts)
    before = [picture.image.tobytes() for picture in pictures]
    scores = _score(scorer, pictures)
    assert [p.image.tobytes() for p in pictures] == before, "the scorer changes its pictures"
    _same(_score(scorer, pictures), scores, "the same pictures get other scores the second time")
    singly = [_score(scorer, [picture])[0] for picture in pictures]
    _same(singly, scores, "the score of a picture depends on the pictures beside it")
    backwards = _score(scorer, pictures[::-1])[::-1]
    _same(backwards, scores, "scores depend on the order of the pictures")
    assert _score(scorer, []) == [], "no pictures must get no scores"


def sample_pictures(prompts: Sequence[str]) -> list[Picture]:
    """Return pictures of several kinds and sizes: plain, a gradient, noise, a drawn circle."""
    import numpy as np
    from PIL import Image, ImageDraw

    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype="uint8")
    circle = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(circle).ellipse((12, 12, 52, 52), fill="red")
    images = [
        Image.new("RGB", (64, 64), "black"),
        Image.new("RGB", (96, 64), "white"),
        Image.linear_gradient("L").convert("RGB"),
        Image.fromarray(noise),
        circle,
    ]
    return [
        Picture(Payload(id=f"p{i}", prompt=prompts[i % len(prompts)], seed=i), image)
        for i, image in enumerate(images)
    ]


def _score(scorer: Scorer, pictures: Sequence[Picture]) -> list[float]:
    scores = list(scorer.score(pictures))
    assert len(scores) == len(pictures), f"{len(scores)} scores for {len(pictures)} pictures"
    for score in scores:
        assert math.isfinite(score), f"the score {score} is not finite"
    return [float(score) for score in scores]


def _same(one: Sequence[float], other: Sequence[float], message: str) -> None:
    close = all(
        math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
        for a, b in zip(one, other, strict=True)
    )
    assert close, f"{message}: {list(one)} and {list(other)}"
