"""The pictures of one trial as a queue: several workers make them, one caller gets them in order.

All of it is guarded by one condition. A worker takes the next picture that nobody makes, but
never runs far ahead of the caller: if the caller stops a bad trial early, little was made in
vain.
"""

from __future__ import annotations

from collections import deque
from threading import Condition

from bmerge import GeneratorError, Picture

__all__ = ["ServerWork"]


class ServerWork:
    """The state of one trial's pictures.

    Args:
        count: how many pictures there are.
        workers: how many make them.
    """

    def __init__(self, count: int, workers: int) -> None:
        self._changed = Condition()
        self._todo = deque(range(count))
        self._missing = count
        self._made: dict[int, Picture] = {}
        self._delivered = 0
        self._ahead = 2 * workers
        self._workers = workers
        self._error: BaseException | None = None
        self._stopped = False

    def take(self) -> int | None:
        """Return the number of a picture to make; None when there is nothing left to do."""
        with self._changed:
            self._changed.wait_for(lambda: self._over() or self._may_take())
            return None if self._over() else self._todo.popleft()

    def over(self) -> bool:
        """Whether nobody wants any more pictures."""
        with self._changed:
            return self._over()

    def complete(self) -> bool:
        """Whether all pictures have been made."""
        with self._changed:
            return self._missing == 0

    def put(self, index: int, picture: Picture) -> None:
        """Hand in a picture."""
        with self._changed:
            self._made[index] = picture
            self._missing -= 1
            self._changed.notify_all()

    def leave(self, index: int, error: GeneratorError) -> bool:
        """Give a picture back and make no more; return whether others continue.

        The last worker's error is the caller's.
        """
        with self._changed:
            self._todo.appendleft(index)
            self._workers -= 1
            if self._workers == 0:
                self._error = self._error or error
            self._changed.notify_all()
            return self._workers > 0

    def fail(self, error: BaseException) -> None:
        """End it all: nobody could make this picture."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def result(self, index: int) -> Picture:
        """Wait for a picture; called with 0, 1, 2 and so on.

        Raises:
            GeneratorError: what a worker failed with.
        """
        with self._changed:
            self._changed.wait_for(lambda: index in self._made or self._error is not None)
            if index not in self._made and self._error is not None:
                raise self._error
            self._delivered = index + 1
            self._changed.notify_all()
            return self._made.pop(index)

    def stop(self) -> None:
        """Let the workers find nothing more to do."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _over(self) -> bool:
        return self._stopped or self._error is not None or self._missing == 0

    def _may_take(self) -> bool:
        return bool(self._todo) and self._todo[0] < self._delivered + self._ahead
