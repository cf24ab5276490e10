"""Plots: points within their axes, round ticks, a line that only rises."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmerge.report.charts import HEIGHT, WIDTH, _labels, convergence, phases, scatters
from bmerge.report.data import ReportData, TrialRow
from bmerge.report.page import render


def _with_scores(data: ReportData, *scores: float | None) -> ReportData:
    trials = tuple(
        TrialRow(i, "init", s, {} if s is None else {"judge": s}, {}, None if s else "broke")
        for i, s in enumerate(scores)
    )
    return replace(data, trials=trials, candidates=())


@pytest.mark.parametrize(
    "scores",
    [(0.1, 0.5, 0.3), (0.4,), (0.0, 0.0), (-7.0, -3.0), (1e-7, 3e-7), (2e6, None, 1e6)],
    ids=str,
)
def test_points_and_ticks_lie_within_the_axes(data: ReportData, scores: tuple[float, ...]) -> None:
    plot = convergence(_with_scores(data, *scores))
    assert plot is not None
    assert len(plot.points) == sum(score is not None for score in scores)
    for point in (*plot.points, *plot.failed):
        assert 0 < plot.x.start <= point.x <= plot.x.end < WIDTH
        assert 0 < plot.y.end <= point.y <= plot.y.start < HEIGHT
    for axis in (plot.x, plot.y):
        assert 1 <= len(axis.ticks) <= 11
        assert all(axis.low <= tick <= axis.high for tick in axis.ticks)


def test_trial_numbers_get_whole_ticks(data: ReportData) -> None:
    plot = convergence(_with_scores(data, 0.1, 0.2, 0.3))
    assert plot is not None
    assert plot.x.ticks == (0, 1, 2)


def test_the_best_so_far_only_rises_and_skips_worse_and_failed_trials(data: ReportData) -> None:
    plot = convergence(_with_scores(data, 0.2, None, 0.1, 0.6, 0.5))
    assert plot is not None
    x, y = plot.x.at, plot.y.at
    expected = f"M{x(0)} {y(0.2)}H{x(3)}V{y(0.6)}H{plot.x.end}"
    assert plot.path == expected
    heights = [float(v) for v in re.findall(r"[V ]([\d.]+)", plot.path)]
    assert heights == sorted(heights, reverse=True)


def test_the_earliest_of_equal_scores_is_the_best(data: ReportData) -> None:
    plot = convergence(_with_scores(data, 0.2, 0.9, 0.9))
    assert plot is not None
    assert [point.best for point in plot.points] == [False, True, False]


def test_a_failed_trial_is_a_cross_and_no_point(data: ReportData) -> None:
    plot = convergence(_with_scores(data, 0.2, None))
    assert plot is not None
    assert [p.trial.number for p in plot.failed] == [1]
    assert [p.trial.number for p in plot.points] == [0]


@pytest.mark.parametrize("scores", [(), (None,), (None, None)], ids=str)
def test_without_any_score_there_is_no_plot(data: ReportData, scores: tuple[None, ...]) -> None:
    assert convergence(_with_scores(data, *scores)) is None


def test_phases_have_colours_in_order_of_appearance(data: ReportData) -> None:
    colours = phases(data)
    assert list(colours) == ["baseline", "sobol", "bayes"]
    assert len(set(colours.values())) == 3


def test_a_scatter_sets_the_first_scorer_against_each_other(data: ReportData) -> None:
    (plot,) = scatters(data)
    assert (plot.x.label, plot.y.label) == ("demo_judge", "colourfulness")
    assert len(plot.points) == 38
    assert plot.points[-1].best, "the best is drawn last, on top"


def test_one_scorer_makes_no_scatter(data: ReportData) -> None:
    assert scatters(_with_scores(data, 0.1, 0.2)) == ()


@pytest.mark.parametrize(
    "scores", [(0.14, 0.115), (0.5, 0.5), (0.2, 0.9)], ids=["close", "equal", "far"]
)
def test_labels_of_the_rivals_do_not_cover_each_other(
    data: ReportData, scores: tuple[float, float]
) -> None:
    changed = _with_scores(data, 0.1, 0.5, 0.95)
    rivals = [
        replace(candidate, score=score)
        for candidate, score in zip(data.candidates[:2], scores, strict=True)
    ]
    plot = convergence(replace(changed, candidates=tuple(rivals)))
    assert plot is not None
    assert all(line.label for line in plot.references)
    first, second = (line.label_y for line in plot.references)
    assert abs(first - second) >= 16
    assert all(plot.y.end < label <= plot.y.start for label in (first, second))


def test_of_many_rivals_those_are_named_that_have_room(data: ReportData) -> None:
    changed = _with_scores(data, 0.1, 0.5, 0.95)
    scores = [0.11, 0.5, 0.5, 0.5, 0.501, *(0.2 + index / 1000 for index in range(50)), 0.94]
    rivals = [
        replace(data.candidates[0], label=f"model {i}", score=s) for i, s in enumerate(scores)
    ]
    plot = convergence(replace(changed, candidates=tuple(rivals)))
    assert plot is not None
    assert len(plot.references) == len(scores)
    named = [line for line in plot.references if line.label]
    assert {"model 0", f"model {len(scores) - 1}"} <= {line.label for line in named}
    places = [line.label_y for line in named]
    assert all(b - a >= 16 for a, b in itertools.pairwise(places))
    assert all(plot.y.end < place <= plot.y.start for place in places)
    assert all(line.label_y - line.y in (16, -6) for line in named)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_no_other_choice_names_more_rivals(lines: list[int]) -> None:
    lines.sort()
    places = _labels(lines, 70)
    kept = [place for place in places if place is not None]
    assert all(b - a >= 16 for a, b in itertools.pairwise(kept))
    choices = itertools.product(*([y + 16, y - 6, None] for y in lines))
    fitting = ([p for p in each if p is not None] for each in choices)
    most = max(
        len(each)
        for each in fitting
        if all(b - a >= 16 for a, b in itertools.pairwise(each)) and max(each, default=0) <= 70
    )
    assert len(kept) == most


@pytest.mark.parametrize("score", [1e-12, 1e-300, 5e-324, 1e300, -1e300, 0.0])
def test_scores_of_any_size_and_equal_ones_have_a_page(data: ReportData, score: float) -> None:
    changed = _with_scores(data, score, score, None, score / 3)
    rivals = tuple(replace(c, score=score, interval=(score, score)) for c in data.candidates)
    page = render(replace(changed, candidates=rivals))[0]
    assert "nan" not in page
    assert "inf" not in page.replace("infer", "")
    assert max(map(len, re.findall(r">[^<]*0000[^<]*<", page)), default=0) < 40, "no endless digits"
