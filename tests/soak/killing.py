"""Programs that are killed at random moments, and what is left of them."""

from __future__ import annotations

import os
import random
import resource
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


def effort(arguments: Sequence[str], environment: dict[str, str]) -> float:
    """Run a program to its end; return the seconds of a processor that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    duration(arguments, environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def killed_after(arguments: Sequence[str], environment: dict[str, str], effort: float) -> bool:
    """Start a program and kill it when it has worked for so long; tell whether it was running.

    That is the same moment however busy the machine is.
    """
    with subprocess.Popen(
        arguments,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while process.poll() is None:
            if _worked(process.pid) >= effort:
                os.killpg(process.pid, signal.SIGKILL)
                return process.wait() == -signal.SIGKILL
            time.sleep(0.005)
    return False


def _worked(process: int) -> float:
    """Return for how many seconds a process that is not waited for has worked."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
