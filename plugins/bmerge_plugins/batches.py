"""FittingBatches of pictures as large as the device has room for.

How much memory a picture takes depends on the network, and what is free on what else computes
there; neither is guessed. When a batch does not fit it is tried again by halves, and later ones are
no larger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from bmerge import ScorerError

__all__ = ["FittingBatches"]

T = TypeVar("T")
R = TypeVar("R")

_SAID = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says on its devices, where it has no class of error for it."""


class FittingBatches:
    """Of one network, for as long as it is used.

    Args:
        most: pictures of a batch.
    """

    def __init__(self, most: int) -> None:
        self._size = most

    def map(self, compute: Callable[[Sequence[T]], Iterable[R]], items: Sequence[T]) -> list[R]:
        """Return what ``compute`` returns for all items, in their order.

        Args:
            compute: returns one result for each of the items that it is given, one or more.
            items: pictures, or what else goes through the network.

        Raises:
            ScorerError: if the device has no room for a single one.
        """
        results: list[R] = []
        while len(results) < len(items):
            batch = items[len(results) : len(results) + self._size]
            some = _fitting(compute, batch)
            if some is None:
                self._halve(len(batch))
            else:
                results += some
        return results

    def _halve(self, size: int) -> None:
        if size == 1:
            message = "the device has too little free memory for one picture"
            hint = "end what else uses it, or set the scorer's device or precision"
            raise ScorerError(message, blame="surroundings", hint=hint)
        self._size = size // 2


def _fitting(compute: Callable[[Sequence[T]], Iterable[R]], batch: Sequence[T]) -> list[R] | None:
    """Return the results of a batch, None if it has no room; what it had took is free then."""
    try:
        return list(compute(batch))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in _SAID):
            return None
        raise
