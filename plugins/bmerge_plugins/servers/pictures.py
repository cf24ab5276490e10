"""Turns the bytes of a picture, as servers and programs deliver them, into a Pillow image."""

from __future__ import annotations

import base64
import binascii
import io
from typing import TYPE_CHECKING

from bmerge import GeneratorError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["from_base64", "from_bytes"]


def from_bytes(content: bytes, source: str) -> Image:
    """Decode a whole picture to RGB.

    Args:
        content: a PNG, JPEG or WebP file's bytes.
        source: named in the error.

    Raises:
        GeneratorError: transient, if it is no picture or only the first part of one.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, UnidentifiedImageError) as error:
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
