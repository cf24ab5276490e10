"""Where a result comes from: the commit and the machine, as its table says them."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

__all__ = ["commit", "machine"]


def commit() -> str:
    """Return the short hash of the checkout, and whether it was changed since."""
    changed = " with uncommitted changes" if _git("status", "--porcelain", "-uno") else ""
    return (_git("rev-parse", "--short", "HEAD") or "unknown") + changed


def machine() -> str:
    """Return processor, number of cores and Python's version."""
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
