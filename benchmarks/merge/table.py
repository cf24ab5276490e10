"""The results as Markdown, with what is needed to make them again."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.merge.measure import Run

__all__ = ["Row", "facts", "markdown"]


@dataclass(slots=True)
class Row:
    """All rounds of one candidate at one work.

    Args:
        model: title of the architecture.
        work: name of the work.
        who: the candidate.
        runs: one for each round.
        ratios: seconds of each run by those of the floor beside it; empty for a floor.
        note: why there are no runs, or what is to be said of them.
    """

    model: str
    work: str
    who: str
    runs: list[Run] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    note: str = ""


def markdown(rows: Sequence[Row], lines: Sequence[str]) -> str:
    """Return the table of medians, each with its least and its most, and the facts."""
    return "\n".join(
        [
            "# Merges against the floor of the disk",
            "",
            "| model | work | who | × floor | seconds | CPU seconds | peak resident MB |",
            "|---|---|---|---|---|---|---|",
            *map(_line, rows),
            "",
            *lines,
            "",
        ]
    )


def _line(row: Row) -> str:
    start = f"| {row.model} | {row.work} | {row.who} |"
    if not row.runs:
        return f"{start} {row.note} | | | |"
    ratio = _spread(row.ratios, 2) if row.ratios else "1"
    seconds = _spread([run.seconds for run in row.runs], 2)
    cpu = _spread([run.cpu for run in row.runs], 2)
    resident = max(run.resident for run in row.runs) / 1e6
    return f"{start} {ratio} | {seconds} | {cpu} | {resident:,.0f} |"


def _spread(values: Sequence[float], digits: int) -> str:
    median = statistics.median(values)
    if len(values) == 1:
        return f"{median:.{digits}f}"
    return f"{median:.{digits}f} ({min(values):.{digits}f} – {max(values):.{digits}f})"


def facts(command: str, rounds: int, loads: Sequence[float]) -> list[str]:
    """Return the lines below the table.

    Args:
        command: that made it.
        rounds: how many.
        loads: load average before each round, which tells how quiet the machine was.
    """
    return [
        f"Made by `{command}` with {rounds} rounds: medians, (least – most); of memory the most.",
        "A ratio is that to the floor that ran right before or after, in random order.",
        "The floor is `cat INPUTS > /dev/null; cp A OUT`, or `head -c` for what is smaller than A;",
        "where a candidate waits for the disk (native_sync), its floor does too.",
        "Where `one layout` stands in its place, it is the same merge of models of one layout.",
        f"Load of the machine before the rounds: {_spread(loads, 1)}." if loads else "",
        f"Commit {_commit()}; {_machine()}.",
    ]


def _commit() -> str:
    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = " with uncommitted changes" if git("status", "--porcelain", "-uno") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    system = f"Linux {platform.release()}"
    python = f"Python {platform.python_version()}"
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GB, {system}, {python}"
