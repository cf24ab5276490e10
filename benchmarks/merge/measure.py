"""Running one command line: seconds, CPU seconds and the most memory that it had resident."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.merge.programs import Program

__all__ = ["FailedError", "Run", "remove_outputs", "run"]

_LIMIT = 900.0
"""Seconds after which a peer is given up."""


class FailedError(Exception):
    """A command that did not end well; its text says how."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one process took.

    Args:
        seconds: by the clock.
        cpu: seconds of all cores, user and system.
        resident: bytes at the peak, mapped files included, of the process itself.
    """

    seconds: float
    cpu: float
    resident: int


def run(program: Program, output: Path, environment: Mapping[str, str], cache: Path) -> Run:
    """Run a command and remove its output again.

    What earlier ones have written is on the disk before it starts, so that each pays for its
    own writing alone.

    Raises:
        FailedError: if it fails, or takes too long.
    """
    remove_outputs(output)
    if program.forgets:
        (cache / "bmerge" / "sha256.json").unlink(missing_ok=True)
    os.sync()
    log = output.with_suffix(".log")
    try:
        with log.open("wb") as errors:
            measured = _measure(program, environment, errors.fileno())
        if measured is None:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise FailedError(lines[-1] if lines else "failed silently")
        return measured
    finally:
        log.unlink(missing_ok=True)
        remove_outputs(output)


def _measure(program: Program, environment: Mapping[str, str], errors: int) -> Run | None:
    start = time.perf_counter()
    process = subprocess.Popen(
        program.words,
        stdin=subprocess.DEVNULL,
        stdout=errors,
        stderr=errors,
        env=dict(environment),
        start_new_session=True,
    )
    try:
        usage = _wait(process.pid, start + _LIMIT)
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise
    process.returncode = 0  # it has been waited for
    if usage is None:
        return None
    cpu, resident = usage
    return Run(time.perf_counter() - start, cpu, resident)


def _wait(process: int, deadline: float) -> tuple[float, int] | None:
    """Wait for a process; return its CPU seconds and peak memory, or None if it failed.

    The peak is looked at while the process runs: what ``wait4`` gives counts the memory of the
    process that started it too.
    """
    resident = 0
    while True:
        resident = max(resident, _peak(process))
        done, status, usage = os.wait4(process, os.WNOHANG)
        if done:
            return (usage.ru_utime + usage.ru_stime, resident) if status == 0 else None
        if time.perf_counter() > deadline:
            raise FailedError(f"took longer than {_LIMIT:.0f} s")
        time.sleep(0.005)


def _peak(process: int) -> int:
    """Return the most bytes that a process has had resident since it began; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in status.splitlines() if "VmHWM" in line)


def remove_outputs(output: Path) -> None:
    """Remove an output, its shards and its index."""
    for file in output.parent.glob(f"{output.stem}*"):
        if file.is_file():
            file.unlink()
