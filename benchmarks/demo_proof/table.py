"""The proof as Markdown, with all that is needed to make it again."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.demo_proof.statistics import Comparison, Interval, compare, mean_interval

__all__ = ["Facts", "markdown"]


@dataclass(frozen=True, slots=True)
class Facts:
    """How the table came about.

    Args:
        command: that makes it.
        lines: further facts, one sentence each.
    """

    command: str
    lines: tuple[str, ...]


def markdown(
    scores: Mapping[str, Sequence[float]],
    search_scores: Mapping[str, float],
    found: Sequence[str],
    facts: Facts,
) -> str:
    """Return the two tables and the facts.

    Args:
        scores: candidate → held-out score of every pair, in the same order.
        search_scores: candidate → mean score on the search's own pictures.
        found: the candidates that a search has found; the others are their rivals.
        facts: how they were made.
    """
    rivals = [name for name in scores if name not in found]
    lines = [
        "# The demo on held-out pictures",
        "",
        "| candidate | held-out score | 95 % interval | score in the search |",
        "|---|---|---|---|",
        *(_candidate(n, mean_interval(s), search_scores[n]) for n, s in scores.items()),
        "",
        "| lead of | over | difference | 95 % interval | p |",
        "|---|---|---|---|---|",
        *(_lead(f, r, compare(scores[f], scores[r])) for f in found for r in rivals),
        "",
        f"Made by `{facts.command}`.",
        *facts.lines,
        f"Commit {_commit()}; {_machine()}.",
        "",
    ]
    return "\n".join(lines)


def _candidate(name: str, held_out: Interval, search: float) -> str:
    return f"| {name} | {held_out.mean:.3f} | {_span(held_out)} | {search:.3f} |"


def _lead(name: str, rival: str, comparison: Comparison) -> str:
    difference = comparison.difference
    p = "< 0.0001" if comparison.p < 1e-4 else f"{comparison.p:.4f}"
    return f"| {name} | {rival} | {difference.mean:+.3f} | {_span(difference)} | {p} |"


def _span(interval: Interval) -> str:
    return f"{interval.low:.3f} to {interval.high:.3f}"


def _commit() -> str:
    def git(*words: str) -> str:
        folder = Path(__file__).parent
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = " with uncommitted changes" if git("status", "--porcelain", "-uno") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def _machine() -> str:
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
