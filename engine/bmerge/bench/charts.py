"""The benchmark's plots as numbers: quality over time, and a forest of intervals.

Pure geometry in the units of the view box; the templates turn it into SVG.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bmerge.bench.rows import Stage
from bmerge.bench.summary import SummaryLine
from bmerge.records import dataclass
from bmerge.report.axes import Axis, axis_of
from bmerge.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH

__all__ = ["Dot", "Forest", "LogAxis", "Mark", "Speed", "forest", "speed"]

STEP = 22  # height of a method in the forest
NAMES = 210  # width of the names beside it
HEAD = 40  # height of the axis above it


@dataclass(frozen=True, slots=True)
class LogAxis:
    """A scale of powers of ten, with the words of :class:`bmerge.report.axes.Axis`."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    label: str

    def at(self, value: float) -> float:
        """Return the coordinate of a value above 0."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def text(self, tick: float) -> str:
        """Return a tick's label."""
        return f"{tick:g}"

    @property
    def caption(self) -> str:
        """What is measured."""
        return self.label


@dataclass(frozen=True, slots=True)
class Dot:
    """One merge in the plot of quality over time."""

    x: float
    y: float
    line: SummaryLine


@dataclass(frozen=True, slots=True)
class Speed:
    """Quality over the time of the merge, and the parents' quality as lines."""

    x: LogAxis
    y: Axis
    dots: tuple[Dot, ...]
    parents: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """One merge's quality in the forest, with its interval."""

    y: float
    x: float
    low: float
    high: float
    line: SummaryLine


@dataclass(frozen=True, slots=True)
class Forest:
    """A name for each method, its marks beside it; the best method on top."""

    x: Axis
    names: tuple[tuple[float, str, Stage], ...]
    marks: tuple[Mark, ...]
    best_parent: float | None
    width: float
    height: float


def speed(lines: Sequence[SummaryLine]) -> Speed | None:
    """Return the plot of quality over time, or None if no merge was timed."""
    timed = [line for line in lines if line.row.cost and line.quality]
    if not timed:
        return None
    parents = [line for line in lines if line.row.stage == "parent" and line.quality]
    x = _log_axis([line.row.cost.seconds for line in timed if line.row.cost])
    y = axis_of(
        [line.quality.mean for line in (*timed, *parents) if line.quality],
        HEIGHT - BOTTOM,
        TOP,
        "quality",
        count=6,
    )
    return Speed(
        x,
        y,
        tuple(
            Dot(x.at(line.row.cost.seconds), y.at(line.quality.mean), line)
            for line in reversed(timed)
            if line.row.cost and line.quality
        ),
        tuple((y.at(p.quality.mean), p.row.name) for p in parents if p.quality),
    )


def forest(lines: Sequence[SummaryLine]) -> Forest | None:
    """Return the forest, or None if nothing has a quality."""
    known = [line for line in lines if line.quality]
    if not known:
        return None
    groups: dict[tuple[str, bool], list[SummaryLine]] = {}
    for line in known:  # a method's rows share a place, that of the better one
        key = (line.row.name, line.row.stage in {"base", "parent"})
        groups.setdefault(key, []).append(line)
    bounds = [edge for li in known if li.quality for edge in (li.quality.low, li.quality.high)]
    x = axis_of(bounds, NAMES, WIDTH - RIGHT, "quality", count=7)
    names: list[tuple[float, str, Stage]] = []
    marks: list[Mark] = []
    for index, group in enumerate(groups.values()):
        middle = HEAD + (index + 0.5) * STEP
        names.append((middle, group[0].row.name, group[0].row.stage))
        for line in group:
            shift = 0.0 if len(group) == 1 else 4.0 if line.row.stage == "defaults" else -4.0
            q = line.quality
            assert q is not None
            marks.append(Mark(middle + shift, x.at(q.mean), x.at(q.low), x.at(q.high), line))
    parents = [mark.x for mark in marks if mark.line.row.stage == "parent"]
    height = HEAD + len(groups) * STEP + 8
    return Forest(x, tuple(names), tuple(marks), max(parents, default=None), WIDTH, height)


def _log_axis(values: Sequence[float]) -> LogAxis:
    """Return an axis that holds the values with a little room, ticks at 1, 2, 5, 10 …."""
    low, high = min(values) / 1.2, max(values) * 1.2
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = tuple(
        tick for power in powers for f in (1, 2, 5) if low <= (tick := f * 10.0**power) <= high
    )
    return LogAxis(low, high, LEFT, WIDTH - RIGHT, ticks, "seconds of the merge")
