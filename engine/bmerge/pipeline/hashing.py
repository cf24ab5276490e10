"""Hashing the inputs while they are merged.

Hashing takes longer than merging, and the hashes stand in the file's header. So they are
computed in spare threads, the header is written last, and a file that was hashed once is not
hashed again until it changes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from bmerge.errors import ExecutorError
from bmerge.formats.hashes import checkpoint_sha256, known_sha256
from bmerge.plan import Plan

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from typing_extensions import Self

__all__ = ["InputHashes"]

_INTERVAL = 0.1


class InputHashes:
    """The SHA-256 of every input of a plan, computed in the background; a context manager.

    Leaving the context before :meth:`wait` has returned stops the work.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._stop = threading.Event()
        distinct = {checkpoint.path: checkpoint for checkpoint in plan.inputs}
        self._known = {
            path: digest
            for path, checkpoint in distinct.items()
            if (digest := known_sha256(checkpoint)) is not None
        }
        self._pool: ThreadPoolExecutor | None = None
        self._futures: dict[Path, Future[str]] = {}
        if new := {path: each for path, each in distinct.items() if path not in self._known}:
            from concurrent.futures import ThreadPoolExecutor  # as most models are known

            self._pool = ThreadPoolExecutor(len(new), thread_name_prefix="bmerge-sha256")
            self._futures = {
                path: self._pool.submit(checkpoint_sha256, checkpoint, stop=self._stop.is_set)
                for path, checkpoint in new.items()
            }

    def __enter__(self) -> Self:
        """Return self; the work has begun already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop what is still under way."""
        self._stop.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def wait(self) -> dict[Path, str]:
        """Return the hashes by the inputs' paths.

        Raises:
            FormatError: if an input could not be read.
            ExecutorError: if an input is not the file that the recipe was written for.
        """
        plan, digests = self._plan, self._known | _finished(self._futures)
        for model, checkpoint in zip(plan.recipe.models, plan.checkpoints, strict=True):
            digest = digests[checkpoint.path]
            if model.sha256 is not None and model.sha256 != digest:
                message = f"{model.path} is not the file that the recipe was written for"
                hint = f"its sha256 is {digest}, the recipe's {model.sha256}"
                raise ExecutorError(message, hint=hint)
        return digests


def _finished(futures: Mapping[Path, Future[str]]) -> dict[Path, str]:
    """Wait for what is under way, in steps, so that an interrupt is noticed."""
    if not futures:
        return {}
    from concurrent.futures import wait

    while wait(futures.values(), timeout=_INTERVAL).not_done:
        pass
    return {path: future.result() for path, future in futures.items()}
