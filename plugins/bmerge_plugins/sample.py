"""One small picture, to try whether a scorer works at all before a study starts."""

from __future__ import annotations

from bmerge import Payload, Picture

__all__ = ["sample_picture"]

_SIDE = 64


def sample_picture() -> Picture:
    """Return a picture that is not of one colour."""
    from PIL import Image

    gradient = Image.linear_gradient("L").resize((_SIDE, _SIDE))
    image = Image.merge("RGB", (gradient, gradient.rotate(90), gradient.rotate(180)))
    return Picture(Payload("check", "a red circle"), image)
