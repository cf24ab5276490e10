"""What the time of an evaluation is spent on."""

from __future__ import annotations

import time
from collections import defaultdict

__all__ = ["Laps"]


class Laps:
    """Sums up the seconds between laps, by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Count the seconds since the last lap for something."""
        now = time.perf_counter()
        self.seconds[name] += now - self._last
        self._last = now

    def part(self, name: str, seconds: float) -> None:
        """Count so many of the seconds of ``load`` for something else."""
        self.seconds[name] += seconds
        self.seconds["load"] = max(0.0, self.seconds["load"] - seconds)
