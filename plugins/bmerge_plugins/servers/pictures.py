"""Turns the bytes of a picture, as servers and programs deliver them, into a Pillow image."""

from __future__ import annotations

import base64
import binascii
import io
from typing import TYPE_CHECKING, Any

from bmerge import GeneratorError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["check", "from_base64", "from_bytes", "from_numbers"]

_FORMATS = ("PNG", "JPEG", "WEBP")


def from_bytes(content: bytes, source: str) -> Image:
    """Decode a whole picture to RGB.

    Args:
        content: a PNG, JPEG or WebP file's bytes.
        source: named in the error.

    Raises:
        GeneratorError: transient, if it is not a picture or only the first part of one.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            return image.convert("RGB")
    except Exception as error:
        message = f"{source}: what came back is not a whole picture ({len(content)} bytes)"
        raise GeneratorError(message, transient=True) from error


def from_base64(text: str, source: str) -> Image:
    """Decode a picture that came within JSON, with or without ``data:image/png;base64,``.

    Raises:
        GeneratorError: as :func:`from_bytes`.
    """
    try:
        content = base64.b64decode(text.rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise GeneratorError(f"{source}: a picture is not base64", transient=True) from error
    return from_bytes(content, source)


def from_numbers(values: Any, source: str) -> Image:
    """Return the picture of an array, rows × columns × 3, of numbers from 0 to 1.

    Raises:
        GeneratorError: if they are none, or the picture is black.
    """
    import numpy as np
    from PIL import Image

    if not np.isfinite(values).all():
        raise _broken(source, "holds values that are not numbers")
    image = Image.fromarray((values * 255).round().astype("uint8"), "RGB")
    check(image, source)
    return image


def check(image: Image, source: str) -> None:
    """Refuse a picture that is black all over, as they come out of an overflow.

    Raises:
        GeneratorError: if it is.
    """
    if image.getbbox() is None:
        raise _broken(source, "is black all over")


def _broken(source: str, what: str) -> GeneratorError:
    return GeneratorError(
        f"{source} {what}",
        hint="the model overflowed: compute in fp32 or bf16, at least in its VAE",
    )
