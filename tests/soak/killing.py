"""Programs that are killed at random moments, and what is left of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

BMERGE = Path(sys.executable).parent / "bmerge"


def kills() -> int:
    """Return how many processes of a kind are to be killed."""
    return int(os.environ.get("SOAK_KILLS", "1000"))


def command(*arguments: object) -> list[str]:
    """Return the command line of ``bmerge`` with these arguments."""
    return [str(BMERGE), *map(str, arguments)]


def duration(arguments: Sequence[str], environment: dict[str, str]) -> float:
    """Run a program to its end; return the seconds that it took."""
    begin = time.monotonic()
    done = subprocess.run(
        arguments, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return time.monotonic() - begin


def killed(
    arguments: Sequence[str], environment: dict[str, str], seconds: float, dice: random.Random
) -> bool:
    """Start a program and kill it within ``seconds``; tell whether it was still running.

    Half of the kills come in the second half of that time, where files appear.
    """
    begin = dice.choice((0.0, 0.5))
    process = subprocess.Popen(
        arguments,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(dice.uniform(begin, 1.0) * seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False
