"""How often and after what pause a request that failed for a passing reason is made again."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bmerge import GeneratorError

__all__ = ["Retry"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential back-off with jitter.

    Args:
        attempts: in all, the first one included; 1 or more.
        pause: seconds before the second attempt; doubled each time, up to ``longest``.
        longest: seconds.
    """

    attempts: int = 5
    pause: float = 0.5
    longest: float = 15.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.pause < 0:
            raise GeneratorError("retries and backoff must be 0 or more")

    def run(self, action: Callable[[], T], sleep: Callable[[float], bool]) -> T:
        """Call ``action`` until it succeeds, fails for good, or has had all its attempts.

        Args:
            action: what to try; only its transient errors are tried again.
            sleep: waits the given seconds; returns True if the wait was cut short because
                nobody wants the result any more.

        Raises:
            GeneratorError: the last one.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return action()
            except GeneratorError as error:
                if not error.transient or attempt == self.attempts:
                    raise
                # Several clients that failed together must not come back together.
                delay = min(self.pause * 2 ** (attempt - 1), self.longest)
                _log.info("%s; attempt %d of %d", error, attempt + 1, self.attempts)
                if sleep(delay * random.uniform(0.5, 1.0)):  # noqa: S311  no secret
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")
