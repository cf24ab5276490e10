"""Shapes as conditions speak of them: ``(3n, n)``, ``(_, 36)``."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["is_of"]

_EXTENT = r"(?P<number>\d+)|(?P<factor>\d*)n|_"


def is_of(shape: Sequence[int] | None, wanted: str) -> bool:
    """Tell whether a shape, if it is known, is as a condition says.

    Args:
        shape: extent of each dimension.
        wanted: for each a number, ``_`` for any, or a multiple of an unknown ``n``.

    Raises:
        ValueError: if the condition is not sound.
    """
    extents = [re.fullmatch(_EXTENT, word.strip()) for word in wanted.strip("() ").split(",")]
    if shape is None or len(shape) != len(extents):
        return False
    units: set[float] = set()
    for extent, found in zip(shape, extents, strict=True):
        if found is None:
            raise ValueError(wanted)
        if found["number"] is not None and extent != int(found["number"]):
            return False
        if found["factor"] is not None:
            units.add(extent / int(found["factor"] or 1))
    return len(units) < 2
