"""What is read of an architecture before it is asked for.

Of a hundred architectures a merge takes one: to make the rules of all of them takes longer than
many a merge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bmerge.architectures.architecture import Architecture
from bmerge.architectures.patterns import Contents
from bmerge.architectures.signs import Signs

__all__ = ["Outline", "whole"]


class Outline(NamedTuple):
    """An architecture that is made when it is asked for.

    Args:
        id: as the architecture's.
        signs: what tells its checkpoints from others.
        make: returns the architecture; the same one each time.
    """

    id: str
    signs: Signs
    make: Callable[[], Architecture]

    def certainty(self, contents: Contents) -> int:
        """Return what :meth:`Architecture.certainty` does."""
        return self.signs.certainty(contents)


def whole(known: Architecture | Outline) -> Architecture:
    """Return an architecture, made if only its outline is known."""
    return known.make() if isinstance(known, Outline) else known
