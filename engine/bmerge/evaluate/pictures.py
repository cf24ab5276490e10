"""Pictures on disk: one PNG for each picture of each trial, which says itself what it is."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bmerge.errors import GeneratorError
from bmerge.evaluate.durable import write_durably
from bmerge.evaluate.protocols import Payload, Picture

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

__all__ = [
    "PictureFinder",
    "encoded_picture",
    "picture_file",
    "place_of",
    "save_picture",
    "stored_scores",
]


def save_picture(
    folder: Path, place: str, picture: Picture, scores: Mapping[str, float], token: str = ""
) -> str:
    """Store a picture with its prompt, seed and scores in text chunks.

    The file appears complete or not at all, and is on disk when this returns: what says that it
    is there may be stored now. A picture of the same place and payload is replaced.

    Args:
        folder: of the study.
        place: where in it: a folder of the trial's own, :func:`place_of`, or another one's.
        picture: the picture.
        scores: scorer's label → score.
        token: of what it belongs to, by which :func:`stored_scores` knows it again.

    Returns:
        The file's path within ``folder``, with forward slashes.

    Raises:
        StudyError: if it cannot be written.
        GeneratorError: if it is not a picture that PNG can hold.
    """
    name, data = encoded_picture(place, picture, scores, token)
    write_durably(folder / name, data)
    return name


def encoded_picture(
    place: str, picture: Picture, scores: Mapping[str, float], token: str = ""
) -> tuple[str, bytes]:
    """Return the path within the study's folder, and the bytes, that a picture is stored as.

    Args:
        place: as for :func:`save_picture`.
        picture: the picture.
        scores: scorer's label → score.
        token: of what it belongs to.

    Raises:
        GeneratorError: if it is not a picture that PNG can hold.
    """
    name = f"{place}/{picture.payload.id}.png"
    buffer = io.BytesIO()
    try:
        picture.image.save(buffer, "PNG", pnginfo=_texts(place, picture, scores, token))
    except (OSError, ValueError) as error:  # of its kind of pixels, say
        message = f"the picture {picture.payload.id!r} cannot be stored as PNG: {error}"
        raise GeneratorError(message, blame="study") from error
    return name, buffer.getvalue()


def place_of(trial: int) -> str:
    """Return the folder of a trial's pictures, within the study's."""
    return f"pictures/{trial:04d}"


def stored_scores(
    folder: Path, place: str, payload: Payload, token: str
) -> tuple[str, dict[str, float]] | None:
    """Return the path and the scores of a picture that lies there; None if it is none of ours.

    A process that is killed leaves pictures of which nothing else tells.

    Args:
        folder: of the study.
        place: where in it.
        payload: that it was made for.
        token: that it was stored with.
    """
    from PIL import Image

    name = f"{place}/{payload.id}.png"
    if not token or picture_file(folder, name) is None:
        return None
    try:
        with Image.open(folder / name, formats=["PNG"]) as image:
            image.load()
            texts = dict(getattr(image, "text", {}))
        if texts.get("token") != token or texts.get("seed") != str(payload.seed):
            return None
        scores = {key[6:]: float(text) for key, text in texts.items() if key.startswith("score:")}
    except (OSError, ValueError, SyntaxError):  # cut off, or not as it was written
        return None
    return name, scores


def picture_file(folder: Path, name: str) -> Path | None:
    """Return the file of a stored picture, if it is there and within the study's folder.

    Args:
        folder: of the study.
        name: that is stored for it; whoever stored it may want another file to be read.
    """
    path = folder / name
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        return path if inside and path.suffix == ".png" and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # a name that there cannot be, links in a circle
        return None


class PictureFinder:
    """Finds many pictures of a study as :func:`picture_file` does, each folder looked at once.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._inside: dict[str, bool] = {}

    def find(self, name: str) -> Path | None:
        """Return the file of a stored picture, if it is there and within the study's folder."""
        place, _, file = name.rpartition("/")
        if not self._is_inside(place) or file in {"", ".", ".."} or "\\" in file:
            return picture_file(self._folder, name)
        path = self._folder / name
        try:
            plain = stat.S_ISREG(os.lstat(path).st_mode)
        except (OSError, ValueError):
            return None
        return path if plain and path.suffix == ".png" else picture_file(self._folder, name)

    def _is_inside(self, place: str) -> bool:
        if place not in self._inside:
            try:
                path = (self._folder / place).resolve()
                self._inside[place] = path.is_relative_to(self._folder.resolve())
            except (OSError, ValueError, RuntimeError):
                self._inside[place] = False
        return self._inside[place]


def _texts(place: str, picture: Picture, scores: Mapping[str, float], token: str) -> PngInfo:
    from PIL.PngImagePlugin import PngInfo

    payload = picture.payload
    texts = {
        "prompt": payload.prompt,
        "negative_prompt": payload.negative_prompt,
        "seed": str(payload.seed),
        "trial": place.rpartition("/")[2].lstrip("0") or "0",
        **({"token": token} if token else {}),
        **{f"score:{label}": repr(score) for label, score in scores.items()},
    }
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text)
    return info
