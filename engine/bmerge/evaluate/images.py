"""Whether what a generator made is a picture."""

from __future__ import annotations

from dataclasses import replace

from bmerge.errors import GeneratorError
from bmerge.evaluate.blamed import pictures_in_words
from bmerge.evaluate.protocols import Picture

__all__ = ["of_its_own", "taken"]

_OVERFLOW = "the model overflowed: compute in fp32 or bf16, at least in its VAE"


def taken(picture: Picture, who: str) -> Picture:
    """Return a picture with an image of our own: the generator may paint the next into the same.

    Refused is what is not an image, and one that is black all over: the merge has overflowed.

    Args:
        picture: as the generator made it.
        who: the generator, in messages.

    Raises:
        GeneratorError: if it is none.
    """
    from PIL.Image import Image

    image: object = picture.image
    if not isinstance(image, Image):
        got = type(image).__name__
        message = f"{who} made a {got} as the picture {pictures_in_words([picture.payload])}"
        raise GeneratorError(message, hint="a PIL image was expected")
    if (image if image.mode == "RGB" else image.convert("RGB")).getbbox() is None:
        message = f"the picture {pictures_in_words([picture.payload])} is black all over"
        raise GeneratorError(message, blame="merge", hint=_OVERFLOW)
    return of_its_own(picture)


def of_its_own(picture: Picture) -> Picture:
    """Return a picture with a copy of its image, for whoever may change it."""
    return replace(picture, image=picture.image.copy())
