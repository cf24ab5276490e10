"""Axes: they hold their values, and their ticks can be told apart, whatever the numbers are."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmerge.report.axes import axis_of

_START, _END = 330.0, 18.0


def _axis(*values: float, whole: bool = False):
    return axis_of(values, _START, _END, "score", count=6, whole=whole)


@pytest.mark.parametrize(
    ("values", "texts", "caption"),
    [
        ((0.1, 0.5), ["0.1", "0.2", "0.3", "0.4", "0.5"], "score"),
        ((0.4,), ["0.38", "0.39", "0.40", "0.41", "0.42"], "score"),
        ((-7.0, -3.0), ["-7", "-6", "-5", "-4", "-3"], "score"),
        ((1e-11,), ["9.6e-12", "9.8e-12", "1e-11", "1.02e-11", "1.04e-11"], "score"),
        ((-1e-12, 1e-12), ["-1e-12", "-5e-13", "0", "5e-13", "1e-12"], "score"),
        ((5e-324, 1e-320), ["-0.4", "-0.2", "0.0", "0.2", "0.4"], "score"),
        ((1e300, -1e300), ["-1e+300", "-5e+299", "0", "5e+299", "1e+300"], "score"),
        ((1.7e308, -1.7e308), ["-1e+300", "-5e+299", "0", "5e+299", "1e+300"], "score"),
        ((0.1, 0.1 + 1e-15), ["0.096", "0.098", "0.100", "0.102", "0.104"], "score"),
        (
            (0.731234567, 0.731234569),
            ["+0", "+5e-10", "+1e-09", "+1.5e-09", "+2e-09"],
            "score − 0.731234567",
        ),
        ((-0.5, -0.50000001), [f"+{x}" for x in ("0", "2e-09", "4e-09", "6e-09", "8e-09", "1e-08")],
         "score + 0.50000001"),
        ((12345678.0, 12345679.0), [f"+{x}" for x in ("0", "0.2", "0.4", "0.6", "0.8", "1")],
         "score − 12345678"),
    ],
    ids=str,
)  # fmt: skip
def test_ticks_are_round_numbers_with_the_digits_that_tell_them_apart(
    values: tuple[float, ...], texts: list[str], caption: str
) -> None:
    axis = _axis(*values)
    assert [axis.text(tick) for tick in axis.ticks] == texts
    assert axis.caption == caption


@given(
    st.lists(st.floats(-1e307, 1e307), min_size=1, max_size=5),
    st.sampled_from([0.0, 1e-12, 1e-6, 1.0]),
)
def test_any_scores_lie_on_the_axis_in_their_order(values: list[float], spread: float) -> None:
    values = [values[0] + spread * (value - values[0]) / 2 for value in values]
    axis = _axis(*values)
    places = [axis.at(value) for value in sorted(values)]
    assert places == sorted(places, reverse=True), "up is more"
    assert all(_END <= place <= _START for place in places)
    texts = [axis.text(tick) for tick in axis.ticks]
    assert 1 <= len(texts) <= 11
    assert len(set(texts)) == len(texts)
    assert max(map(len, texts)) <= 10
    if min(values) != max(values) and max(map(abs, values)) < 1e300:
        seen = (max(values) - min(values)) / max(map(abs, values))
        assert (places[0] - places[-1] > 200) == (
            seen > 1e-12 and max(values) - min(values) > 1e-290
        )


def test_a_value_in_the_middle_is_drawn_in_the_middle() -> None:
    axis = _axis(2e-11, 4e-11)
    assert axis.at(3e-11) == pytest.approx((_START + _END) / 2)
    assert axis.at(axis.ticks[0]) > axis.at(axis.ticks[1])


def test_beyond_the_axis_is_its_edge() -> None:
    axis = _axis(0.0, 1.0)
    assert axis.at(1e308) == axis.at(math.inf) == _END
    assert axis.at(-1e308) == _START


def test_whole_ticks_are_whole() -> None:
    assert _axis(0.0, 2.0, whole=True).ticks == (0, 1, 2)
    assert _axis(0.0, whole=True).ticks == (0,)
