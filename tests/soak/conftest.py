"""Long tests of what must never happen; ``make soak`` runs them and writes down what they saw.

How much is done follows from the environment: ``SOAK_KILLS`` (1,000 of merges, and as many of
studies) and ``SOAK_FUZZ`` (100,000,000 inputs).
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "benchmarks" / "results" / "reliability.md"
HEAD = """# Reliability

What `make soak` saw: processes killed with SIGKILL at random moments, servers that fail, disks
that fill up, and inputs made by a fuzzer. Every row passed; a row that does not fails the run.
Each row has the commit and the machine that it was measured with.

| what | tries | what was found | seconds | commit | machine |
|---|---|---|---|---|---|
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is for ``make soak``, and may take hours."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.soak)
            item.add_marker(pytest.mark.timeout(4 * 3600))


@pytest.fixture
def note() -> Callable[[str, int, str], None]:
    """Write a row of the page: what was tried, how often, what was found."""
    begun = time.monotonic()

    def write(what: str, tries: int, found: str) -> None:
        seconds = round(time.monotonic() - begun)
        rows = _rows()
        rows[what] = f"| {what} | {tries:,} | {found} | {seconds:,} | {_commit()} | {_machine()} |"
        PAGE.write_text(HEAD + "\n".join(rows.values()) + "\n")

    return write


def _rows() -> dict[str, str]:
    """Return what the page has, by what was tried."""
    lines = PAGE.read_text().splitlines() if PAGE.exists() else []
    table = [line for line in lines if line.startswith("| ") and not line.startswith("| what")]
    return {line.split("|")[1].strip(): line for line in table}


def _commit() -> str:
    """Return the commit, with a mark if anything but the tables of results was changed since."""
    git = ["git", "-C", str(ROOT)]
    run = lambda *words: subprocess.run(  # noqa: E731
        [*git, *words], capture_output=True, text=True, check=False
    ).stdout.strip()
    changed = run("status", "--porcelain", "--", ".", ":!benchmarks/results")
    return run("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} × {names[0] if names else platform.processor()}"
