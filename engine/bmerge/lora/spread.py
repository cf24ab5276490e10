"""Work on many layers in several threads, as much at once as fits a memory budget.

numpy and BLAS leave the interpreter while they compute. Each layer has one thread of BLAS for
itself, so that its numbers do not depend on how many there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from bmerge.system import cores

__all__ = ["in_order"]

_T = TypeVar("_T")
_BUDGET = 96 << 20
_MOST = 16
"""Threads; results that wait for their turn take memory too."""


def in_order(
    tasks: Iterable[tuple[int, Callable[[], _T]]], *, budget: int = _BUDGET
) -> Iterator[_T]:
    """Yield the result of each task, in the order of the tasks.

    Args:
        tasks: bytes that each takes, and what it does; taken one by one, when there is room.
        budget: bytes that tasks at work may take together; a greater one works alone.
    """
    from threadpoolctl import threadpool_limits

    waiting: deque[tuple[int, Future[_T]]] = deque()
    with (
        threadpool_limits(1, user_api="blas"),
        ThreadPoolExecutor(_threads(), "bmerge-layers") as pool,
    ):
        try:
            for size, task in tasks:
                while waiting and (
                    len(waiting) >= 2 * _threads() or _taken(waiting) + size > budget
                ):
                    yield waiting.popleft()[1].result()
                waiting.append((size, pool.submit(task)))
            while waiting:
                yield waiting.popleft()[1].result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _taken(waiting: Iterable[tuple[int, Future[_T]]]) -> int:
    return sum(size for size, _ in waiting)


def _threads() -> int:
    return min(cores(), _MOST)
