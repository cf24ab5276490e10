"""Hashing the inputs while they are merged.

Hashing takes longer than merging, and the hashes stand in the file's header. So they are
computed in spare threads, the header is written last, and a file that was hashed once is not
hashed again until it changes.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from bmerge.errors import ExecutorError
from bmerge.formats import checkpoint_sha256
from bmerge.plan import Plan

if TYPE_CHECKING:
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
        self._pool = ThreadPoolExecutor(len(distinct), thread_name_prefix="bmerge-sha256")
        self._futures: dict[Path, Future[str]] = {
            path: self._pool.submit(checkpoint_sha256, checkpoint, stop=self._stop.is_set)
            for path, checkpoint in distinct.items()
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
        self._pool.shutdown(wait=True, cancel_futures=True)

    def wait(self) -> dict[Path, str]:
        """Return the hashes by the inputs' paths.

        Raises:
            FormatError: if an input could not be read.
            ExecutorError: if an input is not the file that the recipe was written for.
        """
        while wait(self._futures.values(), timeout=_INTERVAL).not_done:
            pass  # in steps, so that an interrupt is noticed
        digests = {path: future.result() for path, future in self._futures.items()}
        plan = self._plan
        for model, checkpoint in zip(plan.recipe.models, plan.checkpoints, strict=True):
            digest = digests[checkpoint.path]
            if model.sha256 is not None and model.sha256 != digest:
                message = f"{model.path} is not the file that the recipe was written for"
                hint = f"its sha256 is {digest}, the recipe's {model.sha256}"
                raise ExecutorError(message, hint=hint)
        return digests
