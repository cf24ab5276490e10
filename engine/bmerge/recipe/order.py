"""The order of what needs one another, without recursion: a chain may have thousands of links."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

__all__ = ["CircleError", "in_order"]

T = TypeVar("T")
_SHOWN = 3
"""Names at each end of a long circle."""


class CircleError(Exception):
    """Something needs itself.

    Args:
        circle: one thing needs the next; the last is the first again.
    """

    def __init__(self, circle: list[object]) -> None:
        names = list(map(str, circle))
        if len(names) > 2 * _SHOWN:
            names[_SHOWN:-_SHOWN] = ["…"]
        super().__init__(" → ".join(names))
        self.circle = circle


def in_order(wanted: Iterable[T], needs: Callable[[T], Iterable[T]]) -> list[T]:
    """Return everything that is needed, each once, after what it needs itself.

    It takes time in proportion to what there is, however often one item is needed.

    Args:
        wanted: what is needed in the end; things are told apart by their hashes.
        needs: returns what a thing needs, in the order in which that is to come.

    Raises:
        CircleError: if something needs itself.
    """
    done: dict[T, None] = {}
    for first in wanted:
        # Those that are being looked at, each needed by the one before, and what they still need.
        open_: dict[T, Iterator[T]] = {}
        waiting = iter((first,))
        while True:
            item = next((each for each in waiting if each not in done), None)
            if item is not None:
                if item in open_:
                    path = list(open_)
                    raise CircleError([*path[path.index(item) :], item])
                waiting = open_[item] = iter(needs(item))
                continue
            if not open_:
                break
            last, _ = open_.popitem()
            done[last] = None
            waiting = next(reversed(open_.values()), iter(()))
    return list(done)
