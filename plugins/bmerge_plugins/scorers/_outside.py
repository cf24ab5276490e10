"""What the scorers outside of this process share: what they are told, and how they fail."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bmerge import GeneratorError, Picture, ScorerError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["as_scorer_errors", "describe", "number", "png"]


def describe(picture: Picture) -> dict[str, Any]:
    """Return what a judge may want to know of a picture, as JSON has it."""
    payload = picture.payload
    return {
        "id": payload.id,
        "prompt": payload.prompt,
        "negative_prompt": payload.negative_prompt,
        "seed": payload.seed,
    }


def png(image: Image) -> str:
    """Return a picture's PNG file as base64."""
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def number(value: Any, source: str) -> float:
    """Return a score that came from outside.

    Args:
        value: a number or its text.
        source: who gave it, for messages.

    Raises:
        ScorerError: if it is not a finite number.
    """
    try:
        score = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        score = None
    if score is None or not math.isfinite(score):
        text = repr(value)
        shown = text if len(text) <= 100 else text[:99] + "…"
        # NaN is said of a picture; what is not a number at all comes from the wrong server.
        raise ScorerError(
            f"{source} gave {shown} where a number was expected",
            blame="study" if score is None else "merge",
        )
    return score


@contextmanager
def as_scorer_errors() -> Iterator[None]:
    """Turn errors of the programs and servers that generators use, too, into a scorer's."""
    try:
        yield
    except GeneratorError as error:
        raise ScorerError(
            str(error), transient=error.transient, blame=error.blame, hint=error.hint
        ) from error
