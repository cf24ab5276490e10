"""Sequences whose items are made when they are asked for.

A checkpoint may have a million tensors, of which each would be ten objects in a plan. So a long
sequence makes its items again each time it is gone through; the items of a short one stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import eq
from typing import TypeVar, overload

__all__ = ["KEPT", "Made"]

T = TypeVar("T")

KEPT = 1 << 16
"""Items that are kept at most."""


class Made(Sequence[T]):
    """A sequence of so many items.

    Args:
        count: how many.
        make: makes one from its index; the same one each time, as far as can be seen.
    """

    def __init__(self, count: int, make: Callable[[int], T]) -> None:
        self._count = count
        self._make = make
        self._kept: tuple[T, ...] | None = None

    def __len__(self) -> int:
        """Return how many items there are."""
        return self._count

    def __iter__(self) -> Iterator[T]:
        """Yield the items."""
        if self._count > KEPT:
            return map(self._make, range(self._count))
        return iter(self._items())

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        """Return an item, or some."""
        if self._count <= KEPT:
            return self._items()[index]
        places = range(self._count)[index]
        return tuple(map(self._make, places)) if isinstance(places, range) else self._make(places)

    def __eq__(self, other: object) -> bool:
        """Tell whether another sequence has the same items."""
        if not isinstance(other, Made) or len(self) != len(other):
            return NotImplemented if not isinstance(other, Made) else False
        return all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # as of other sequences that are compared

    def _items(self) -> tuple[T, ...]:
        if self._kept is None:
            self._kept = tuple(map(self._make, range(self._count)))
        return self._kept
