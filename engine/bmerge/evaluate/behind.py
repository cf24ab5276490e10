"""Pictures are judged while the next are painted: by a thread behind the generator.

The generator's thread hands pictures in and takes what came of them, in the order of the pictures.
A batch that fails stays the next one until it is tried again; what comes after it waits.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Generic, TypeVar

from bmerge.evaluate.protocols import Picture

__all__ = ["Behind"]

T = TypeVar("T")
Attempt = Callable[[], T]


class _Word(Enum):
    FLUSH = auto()
    AGAIN = auto()
    END = auto()


class Behind(Generic[T]):
    """A thread that does something with pictures, batch by batch.

    A context manager; leaving it waits for the batch that is being done, and drops the others.

    Args:
        begin: given a batch, returns what does it; that may be called again if it raises.
        size: pictures of a batch.
        patience: seconds that a picture waits for others.
    """

    def __init__(
        self, begin: Callable[[list[Picture]], Attempt[T]], size: int, patience: float
    ) -> None:
        self._begin, self._size, self._patience = begin, size, patience
        self._inbox: queue.SimpleQueue[Picture | _Word] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()
        self._verdict: queue.SimpleQueue[_Word] = queue.SimpleQueue()
        self._failed = False
        self.seconds = 0.0
        """That batches have taken."""
        self._thread = threading.Thread(target=self._work, name="scorers", daemon=True)

    def put(self, picture: Picture) -> None:
        """Hand a picture in."""
        self._inbox.put(picture)

    @property
    def ready(self) -> bool:
        """Whether an outcome is there."""
        return not self._outcomes.empty()

    def flush(self) -> None:
        """Let pictures wait no longer for others."""
        self._inbox.put(_Word.FLUSH)

    def take(self) -> T:
        """Return what came of the next batch; wait for it.

        Raises:
            BaseException: whatever doing it raised; the next call has it tried again.
        """
        if self._failed:
            self._failed = False
            self._verdict.put(_Word.AGAIN)
        outcome = self._outcomes.get()
        if isinstance(outcome, BaseException):
            self._failed = True
            raise outcome
        return outcome

    def __enter__(self) -> Behind[T]:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._inbox.put(_Word.END)
        self._verdict.put(_Word.END)
        self._thread.join()

    def _work(self) -> None:
        while batch := self._batch():
            attempt = self._begin(batch)
            while not self._done(attempt):
                if self._verdict.get() is _Word.END:
                    return

    def _done(self, attempt: Attempt[T]) -> bool:
        start = time.perf_counter()
        outcome: T | BaseException
        try:
            outcome = attempt()
        except BaseException as error:  # noqa: BLE001  raised again in the other thread
            outcome = error
        self.seconds += time.perf_counter() - start
        self._outcomes.put(outcome)
        return not isinstance(outcome, BaseException)

    def _batch(self) -> list[Picture]:
        """Wait for a batch: a full one, or one that waits no longer; none at the end."""
        batch: list[Picture] = []
        until = 0.0
        while len(batch) < self._size:
            try:
                wait = max(0.0, until - time.monotonic()) if batch else None
                message = self._inbox.get(timeout=wait)
            except queue.Empty:
                break
            if message is _Word.END:
                return []
            if isinstance(message, _Word):
                if batch:
                    break
                continue
            if not batch:
                until = time.monotonic() + self._patience
            batch.append(message)
        return batch
