"""How often and after what pause a request that failed for a passing reason is made again."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bmerge import GeneratorError
from bmerge_plugins.servers.faults import StatusError

__all__ = ["Retry"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential back-off with jitter, and as long as the server asks for.

    Args:
        attempts: in all, the first one included; 1 or more.
        pause: seconds before the second attempt; doubled each time, up to ``longest``.
        longest: seconds.
        patience: seconds; a server that asks for a longer pause is given up at once.
    """

    attempts: int = 5
    pause: float = 0.5
    longest: float = 15.0
    patience: float = 120.0

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
                asked = error.pause if isinstance(error, StatusError) else 0.0
                if not error.transient or attempt == self.attempts or asked > self.patience:
                    raise
                # Several clients that failed together must not come back together.
                delay = min(self.pause * 2 ** (attempt - 1), self.longest)
                _log.info("%s; attempt %d of %d", error, attempt + 1, self.attempts)
                if sleep(max(asked, delay * random.uniform(0.5, 1.0))):  # noqa: S311  no secret
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")
