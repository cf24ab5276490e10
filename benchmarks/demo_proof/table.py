"""The proof as Markdown, with all that is needed to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.demo_proof.statistics import Comparison, Interval, compare, mean_interval
from benchmarks.origin import commit, machine

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
        f"Commit {commit()}; {machine()}.",
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
