"""The benchmark's table: medians over the seeds, with their intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bmerge.bench.optimising.contest import ContestRow
from bmerge.records import dataclass

__all__ = ["Cell", "ContestLine", "flat", "lines_of", "markdown"]

_SURE = 0.95


@dataclass(frozen=True, slots=True)
class Cell:
    """The median of some seeds.

    Args:
        median: of them.
        low: lower end of its interval.
        high: upper end.
        seeds: how many there are.
    """

    median: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        return f"{_short(self.median)} [{_short(self.low)} {_short(self.high)}]"


@dataclass(frozen=True, slots=True)
class ContestLine:
    """One contestant.

    Args:
        name: of the contestant.
        cells: landscape, pictures → the true quality of what is returned then.
        start: landscape → median of the best of parents and centre.
        trials: median over all searches.
        seconds: of CPU time per ask, likewise.
        seeds: with which it has searched every landscape.
    """

    name: str
    cells: Mapping[tuple[str, int], Cell]
    start: Mapping[str, float]
    trials: float
    seconds: float
    seeds: int


def lines_of(rows: Sequence[ContestRow]) -> list[ContestLine]:
    """Return a line for each contestant, in the order in which they are first seen."""
    found = []
    for name in dict.fromkeys(row.name for row in rows):
        own = [row for row in rows if row.name == name]
        values: dict[tuple[str, int], list[float]] = {}
        starts: dict[str, list[float]] = {}
        for row in own:
            starts.setdefault(row.landscape, []).append(max(row.found.start))
            for mark, value in row.found.quality.items():
                values.setdefault((row.landscape, mark), []).append(value)
        asks = [row.found.seconds / max(1, row.found.asks) for row in own]
        found.append(
            ContestLine(
                name=name,
                cells={place: _cell(some) for place, some in values.items()},
                start={place: statistics.median(some) for place, some in starts.items()},
                trials=statistics.median(row.found.trials for row in own),
                seconds=statistics.median(asks),
                seeds=min(map(len, starts.values())),
            )
        )
    return found


def markdown(lines: Sequence[ContestLine], pictures: int, facts: Iterable[str]) -> str:
    """Return the results as a page.

    Args:
        lines: of the table.
        pictures: of each search; the table shows what was found with half of them, too.
        facts: how it was made, a sentence each.
    """
    places = dict.fromkeys(name for line in lines for name, _ in line.cells)
    marks = [pictures // 2, pictures]
    heads = [f"{place} {mark}" for place in places for mark in marks]
    parts = ["# Optimisers side by side", "", *facts, "", _row(["optimiser", *heads, "ms/ask"])]
    parts.append(_row(["---"] * (len(heads) + 2)))
    most = max(line.seeds for line in lines)
    for line in lines:
        name = line.name if line.seeds == most else f"{line.name} ({line.seeds} seeds)"
        cells = [line.cells.get((place, mark)) for place in places for mark in marks]
        shown = ["–" if cell is None else str(cell) for cell in cells]
        parts.append(_row([name, *shown, f"{1000 * line.seconds:.1f}"]))
    parts += [*_beyond(lines, places, pictures), ""]
    return "\n".join(parts)


def flat(line: ContestLine) -> dict[str, Any]:
    """Return a line as plain data."""
    quality: dict[str, dict[str, Any]] = {}
    for (place, mark), cell in line.cells.items():
        entry = {"median": cell.median, "low": cell.low, "high": cell.high, "seeds": cell.seeds}
        quality.setdefault(place, {})[str(mark)] = entry
    return {
        "name": line.name,
        "quality": quality,
        "start": dict(line.start),
        "trials": line.trials,
        "seconds_per_ask": line.seconds,
    }


def _beyond(lines: Sequence[ContestLine], places: Iterable[str], pictures: int) -> list[str]:
    """Return sentences about those who paint more, and about the start."""
    found = []
    for line in lines:
        last = max(mark for _, mark in line.cells)
        if last > pictures:
            cells = ((place, line.cells.get((place, last))) for place in places)
            shown = ", ".join(f"{place} {cell}" for place, cell in cells if cell)
            found.append(f"{line.name} after {last} pictures: {shown}.")
    start = ", ".join(f"{place} {_short(value)}" for place, value in lines[0].start.items())
    return ["", *found, "", f"The best of the parents and the centre is worth: {start}."]


def _cell(values: Sequence[float]) -> Cell:
    """Return the median with its interval between order statistics, free of any distribution."""
    ordered, n = sorted(values), len(values)
    rank, outside = 0, 2 / 2**n  # the probability that the median is beyond the extremes
    while (outside := outside + 2 * math.comb(n, rank + 1) / 2**n) <= 1 - _SURE:
        rank += 1
    return Cell(statistics.median(ordered), ordered[rank], ordered[n - 1 - rank], n)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
