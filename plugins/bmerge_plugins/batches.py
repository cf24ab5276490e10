"""FittingBatches of pictures as large as the device has room for.

How much memory a picture takes depends on the network, and what is free on what else computes
there; neither is guessed. Where the device tells, the first picture goes alone and is measured, and
each batch takes no more than most of what is free then. When one does not fit, it is
tried again by halves, and later ones are no larger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from bmerge import ScorerError

__all__ = ["FittingBatches", "MemoryGauge"]

T = TypeVar("T")
R = TypeVar("R")

_SAID = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch says on its devices, where it has no class of error for it."""


_SHARE = 0.75
"""Of what is free: as much is for what the network takes at moments, and for other programs."""


class MemoryGauge(Protocol):
    """The memory of a device, as this process may use it."""

    def free(self) -> int:
        """Return how many bytes can be taken."""

    def watch(self) -> None:
        """Begin to watch how many are taken."""

    def taken(self) -> int:
        """Return the most bytes that were taken at once since then."""


class FittingBatches:
    """Of one network, for as long as it is used.

    Args:
        most: pictures of a batch.
        memory: of the device; None where it tells nothing.
    """

    def __init__(self, most: int, memory: MemoryGauge | None = None) -> None:
        self._size = most
        self._memory = memory
        self._each: int | None = None  # bytes that a picture takes

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
            batch = items[len(results) : len(results) + self._sized()]
            some = self._measured(compute, batch)
            if some is None:
                self._halve(len(batch))
            else:
                results += some
        return results

    def _sized(self) -> int:
        """Return how many pictures the next batch has."""
        if self._memory is None or self._size == 1:
            return self._size
        if self._each is None:
            return 1
        return max(1, min(self._size, int(_SHARE * self._memory.free()) // max(1, self._each)))

    def _measured(
        self, compute: Callable[[Sequence[T]], Iterable[R]], batch: Sequence[T]
    ) -> list[R] | None:
        """Return the results of a batch, None if it has no room; measure the first."""
        if self._memory is None or self._each is not None:
            return _fitting(compute, batch)
        self._memory.watch()
        some = _fitting(compute, batch)
        if some is not None:
            self._each = self._memory.taken() // len(batch)
        return some

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
