"""Plots as numbers: points on axes, the line of the best so far, lines to compare with.

Pure geometry in the units of the view box, which the templates turn into SVG.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from bmerge.colours import PALETTE
from bmerge.records import dataclass
from bmerge.report.axes import Axis, axis_of
from bmerge.report.data import ReportData, TrialRow

__all__ = [
    "Convergence",
    "Point",
    "Reference",
    "Scatter",
    "convergence",
    "fronts",
    "phases",
    "scatters",
]

WIDTH, HEIGHT = 860, 380
LEFT, RIGHT, TOP, BOTTOM = 66, 20, 18, 50
_LABEL = 16  # height of a label
_ABOVE = 6  # distance of a label above a line


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
        label: whose score it is; empty where there is no room for it.
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
        if trial.pruned is not None:
            continue
        score = trial.score or 0.0
        if score > best:
            best = score
            left, top = x.at(trial.number), y.at(score)
            path += f"H{left}V{top}" if path else f"M{left} {top}"
    return f"{path}H{x.end}"


def _references(rivals: Sequence[tuple[str, float]], y: Axis) -> tuple[Reference, ...]:
    """Return the lines that lie within the plot, from the highest down."""
    lines = sorted((y.at(score), label) for label, score in rivals if y.low <= score <= y.high)
    places = _labels([line for line, _ in lines], y.start)
    pairs = zip(lines, places, strict=True)
    return tuple(
        Reference(line, line if at is None else at, "" if at is None else text)
        for (line, text), at in pairs
    )


def _labels(lines: Sequence[float], bottom: float) -> list[float | None]:
    """Return where lines' labels stand: below them, above where that is in the way, or nowhere.

    Args:
        lines: from the highest down.
        bottom: of the plot.

    Returns:
        The baselines of those labels that fit without covering each other, as many as there can
        be; of equally many, as few above their lines as there can be.
    """
    # Label by label, the best way to have the last one at each of its places, or to have none.
    layouts: list[tuple[int, int, float, tuple[float | None, ...]]] = [(0, 0, -math.inf, ())]
    for line in lines:
        longer: dict[float, tuple[int, int, float, tuple[float | None, ...]]] = {}
        for left, above, last, places in layouts:
            for place in (line + _LABEL, line - _ABOVE, None):
                if place is not None and (place - last < _LABEL or place > bottom):
                    continue
                end = last if place is None else place
                layout = (
                    left + (place is None), above + (place is not None and place < line), end,
                    (*places, place),
                )  # fmt: skip
                longer[end] = min(longer.get(end, layout), layout, key=lambda each: each[:2])
        layouts = list(longer.values())
    return list(min(layouts, key=lambda each: each[:2])[3])
