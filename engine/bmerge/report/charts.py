"""Plots as numbers: axes with round ticks, points, the line of the best so far.

Pure geometry in the units of the view box, which the templates turn into SVG.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bmerge.report.colours import PALETTE
from bmerge.report.data import ReportData, TrialRow

__all__ = [
    "Axis",
    "Convergence",
    "Point",
    "Reference",
    "Scatter",
    "axis_of",
    "convergence",
    "fronts",
    "phases",
    "scatters",
]

WIDTH, HEIGHT = 860, 380
LEFT, RIGHT, TOP, BOTTOM = 66, 20, 18, 50
_LABEL = 16  # height of a label
_MOST_DECIMALS = 4  # beyond, powers of ten are shorter


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale.

    Args:
        low: value at ``start``.
        high: value at ``end``.
        start: coordinate, in the view box.
        end: coordinate, in the view box.
        ticks: round values to be labelled.
        label: what is measured.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    label: str

    def at(self, value: float) -> float:
        """Return the coordinate of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def text(self, tick: float) -> str:
        """Return a tick's label, with as many decimals as its neighbours need."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else abs(tick) or 1.0
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{tick:.{decimals}f}" if decimals <= _MOST_DECIMALS else f"{tick:g}"


@dataclass(frozen=True, slots=True)
class Point:
    """One trial in a plot."""

    x: float
    y: float
    colour: str
    trial: TrialRow
    best: bool = False
    front: bool = False


@dataclass(frozen=True, slots=True)
class Reference:
    """A horizontal line to compare with: a parent's or the uniform merge's score.

    Args:
        y: of the line.
        label_y: of its label's baseline: below the line where there is room.
        label: whose score it is.
    """

    y: float
    label_y: float
    label: str


@dataclass(frozen=True, slots=True)
class Convergence:
    """Score over trials."""

    x: Axis
    y: Axis
    points: tuple[Point, ...]
    failed: tuple[Point, ...]
    path: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Scatter:
    """Two scorers, or two objectives, against each other."""

    x: Axis
    y: Axis
    points: tuple[Point, ...]
    objectives: bool = False


def phases(data: ReportData) -> dict[str, str]:
    """Return each phase's colour, in order of appearance."""
    names = dict.fromkeys(trial.phase for trial in data.trials)
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(names)}


def convergence(data: ReportData) -> Convergence | None:
    """Return the plot of scores over trial numbers, or None if no trial has a score."""
    best = data.best
    if best is None:
        return None
    rivals = [candidate for candidate in data.candidates if candidate.role != "best"]
    scored = [trial for trial in data.trials if trial.score is not None]
    y = axis_of([t.score for t in scored], HEIGHT - BOTTOM, TOP, "score", count=6)
    x = axis_of([t.number for t in data.trials], LEFT, WIDTH - RIGHT, "trial", count=8, whole=True)
    colours = phases(data)
    floor = y.at(y.low)
    return Convergence(
        x,
        y,
        tuple(
            Point(x.at(t.number), y.at(t.score or 0.0), colours[t.phase], t, t is best)
            for t in scored
        ),
        tuple(
            Point(x.at(t.number), floor, colours[t.phase], t)
            for t in data.trials
            if t.score is None
        ),
        _staircase(scored, x, y),
        _references([(c.label, c.score) for c in rivals], y),
    )


def scatters(data: ReportData) -> tuple[Scatter, ...]:
    """Return the first scorer against each other one, over the trials that have both."""
    names = list(dict.fromkeys(name for trial in data.trials for name in trial.scores))
    pairs = [(names[0], name) for name in names[1:]]
    return tuple(_scatters(data, pairs, lambda trial: trial.scores))


def fronts(data: ReportData) -> tuple[Scatter, ...]:
    """Return each objective against each other one, with the trials of the Pareto front marked."""
    pairs = itertools.combinations(data.objectives, 2)
    plots = _scatters(data, pairs, lambda trial: trial.objectives)
    return tuple(
        replace(
            plot,
            points=tuple(replace(point, front=point.trial.front) for point in plot.points),
            objectives=True,
        )
        for plot in plots
    )


def _scatters(
    data: ReportData,
    pairs: Iterable[tuple[str, str]],
    values: Callable[[TrialRow], Mapping[str, float]],
) -> Iterator[Scatter]:
    colours, best = phases(data), data.best
    for one, other in pairs:
        both = [t for t in data.trials if {one, other} <= set(values(t))]
        if not both:
            continue
        x = axis_of([values(t)[one] for t in both], LEFT, WIDTH - RIGHT, one, count=7)
        y = axis_of([values(t)[other] for t in both], HEIGHT - BOTTOM, TOP, other, count=6)
        points = [
            Point(x.at(values(t)[one]), y.at(values(t)[other]), colours[t.phase], t, t is best)
            for t in both
        ]
        yield Scatter(x, y, tuple(sorted(points, key=lambda point: point.best)))


def _staircase(scored: Sequence[TrialRow], x: Axis, y: Axis) -> str:
    """Return the path of the best score so far, up to the last trial."""
    path, best = "", -math.inf
    for trial in scored:
        score = trial.score or 0.0
        if score > best:
            best = score
            left, top = x.at(trial.number), y.at(score)
            path += f"H{left}V{top}" if path else f"M{left} {top}"
    return f"{path}H{x.end}"


def _references(rivals: Sequence[tuple[str, float]], y: Axis) -> tuple[Reference, ...]:
    """Return the lines that lie within the plot, from the highest down."""
    lines = sorted((y.at(score), label) for label, score in rivals if y.low <= score <= y.high)
    labels = _labels([line for line, _ in lines], y.start)
    return tuple(Reference(line, at, text) for (line, text), at in zip(lines, labels, strict=True))


def _labels(lines: Sequence[float], bottom: float) -> tuple[float, ...]:
    """Return where the lines' labels stand: below them, or above where that is in the way."""

    def cost(places: tuple[float, ...]) -> tuple[int, int]:
        overlaps = sum(abs(a - b) < _LABEL for a, b in itertools.combinations(places, 2))
        above = sum(place < line for place, line in zip(places, lines, strict=True))
        return overlaps + sum(place > bottom for place in places), above

    choices = [(line + _LABEL, line - 6) for line in lines]
    return min(itertools.product(*choices), key=cost)


def axis_of(
    values: Iterable[float | None],
    start: float,
    end: float,
    label: str,
    *,
    count: int,
    whole: bool = False,
) -> Axis:
    """Return an axis that holds the values with a little room, and about ``count`` ticks."""
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    room = 0.6 if whole else (high - low) * 0.06 or abs(high) * 0.05 or 0.5
    low, high = low - room, high + room
    step = _round_step((high - low) / count)
    if whole:
        step = max(1.0, step)
    first = math.ceil(low / step)
    ticks = tuple(round(i * step, 10) for i in range(first, math.floor(high / step) + 1))
    return Axis(low, high, start, end, ticks, label)


def _round_step(step: float) -> float:
    """Return the least of 1, 2, 5 times a power of ten that is not below ``step``."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step * 0.999)
