"""Pictures on disk: one PNG for each picture of each trial, which says itself what it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bmerge.errors import StudyError
from bmerge.evaluate.protocols import Picture

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

__all__ = ["save_picture"]


def save_picture(folder: Path, trial: int, picture: Picture, scores: Mapping[str, float]) -> str:
    """Store a picture with its prompt, seed and scores in text chunks.

    The file appears complete or not at all. A picture of the same trial and payload is
    replaced.

    Args:
        folder: of the study.
        trial: its number.
        picture: the picture.
        scores: scorer's label → score.

    Returns:
        The file's path within ``folder``, with forward slashes.

    Raises:
        StudyError: if it cannot be written.
    """
    name = f"pictures/{trial:04d}/{picture.payload.id}.png"
    path = folder / name
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.image.save(part, "PNG", pnginfo=_texts(trial, picture, scores))
        part.replace(path)
    except OSError as error:
        raise StudyError(f"{path} cannot be written: {error.strerror or error}") from error
    return name


def _texts(trial: int, picture: Picture, scores: Mapping[str, float]) -> PngInfo:
    from PIL.PngImagePlugin import PngInfo

    payload = picture.payload
    texts = {
        "prompt": payload.prompt,
        "negative_prompt": payload.negative_prompt,
        "seed": str(payload.seed),
        "trial": str(trial),
        **{f"score:{label}": repr(score) for label, score in scores.items()},
    }
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text)
    return info
