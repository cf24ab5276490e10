"""A space as a cube: every kind of parameter there and back, and what is refused from outside."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge import Cube, Parameter, Space
from bmerge.space.points import checked_point
from bmerge.testing.optimisers import MIXED


def test_cube_has_coordinates_of_every_kind():
    cube = Cube(MIXED)
    assert cube.width == 1 + 1 + 3 + 1 + 2
    point = cube.values([0.5, 0.1, 0.2, 0.9, 0.3, 0.8, 0.75, 0.5])
    assert point == {
        "rate": pytest.approx(10**-1.5),
        "steps": 1.0,
        "method": 1.0,
        "order": 1.0,
        "share.a": pytest.approx(1 - 0.25**0.5),
        "share.b": pytest.approx(0.25**0.5 / 2),
        "share.c": pytest.approx(0.25**0.5 / 2),
    }


def test_cube_goes_there_and_back():
    cube = Cube(MIXED)
    for unit in np.random.default_rng(1).random((50, cube.width)):
        point = cube.values(unit.tolist())
        assert cube.values(cube.unit(point)) == pytest.approx(point)
        assert list(point) == list(MIXED.names)
        checked_point(MIXED, point)


def test_cube_keeps_a_float_to_the_last_digit():
    cube = Cube(Space((Parameter("alpha", -0.5, 1.5),)))
    assert cube.values([0.3])["alpha"] == -0.5 + 0.3 * 2.0


def test_uniform_coordinates_are_uniform_in_the_space():
    cube = Cube(MIXED)
    points = [cube.values(u.tolist()) for u in np.random.default_rng(2).random((6000, cube.width))]
    for name, expected in (("steps", 1 / 5), ("method", 1 / 3), ("order", 1 / 2)):
        counts = np.unique([p[name] for p in points], return_counts=True)[1]
        assert counts / 6000 == pytest.approx([expected] * round(1 / expected), abs=0.025)
    for name in ("share.a", "share.b", "share.c"):  # of three, each is above 1/2 in a quarter
        shares = np.array([p[name] for p in points])
        assert (shares.mean(), (shares > 0.5).mean()) == pytest.approx((1 / 3, 1 / 4), abs=0.02)


@pytest.mark.parametrize("corner", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_cube_reaches_the_corners_of_a_simplex(corner):
    space = Space(tuple(Parameter(n, 0.0, 1.0, simplex="w") for n in "abc"))
    point = dict(zip("abc", corner, strict=True))
    assert Cube(space).values(Cube(space).unit(point)) == point


def test_centre_of_every_kind():
    assert MIXED.centre() == {
        "rate": pytest.approx(10**-1.5),
        "steps": 3.0,
        "method": 0.0,
        "order": 0.0,
        "share.a": pytest.approx(1 / 3),
        "share.b": pytest.approx(1 / 3),
        "share.c": pytest.approx(1 / 3),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 2.0}, r"rate = 2, outside \[0.001, 1\]"),
        ({"steps": 2.5}, "steps = 2.5, which is not a whole number"),
        ({"method": 3.0}, r"method = 3, outside \[0, 2\]"),
        ({"share.a": 0.5}, "weights of share that sum to 1.16667, not to 1"),
        ({"share.a": float("nan")}, "share.a = nan"),
        ({"other": 1.0}, "values for other parameters"),
    ],
    ids=str,
)
def test_point_from_outside_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        checked_point(MIXED, {**MIXED.centre(), **change})


def test_point_that_misses_by_rounding_is_moved():
    point = {**MIXED.centre(), "rate": 1.0 + 1e-12, "steps": 3.0 + 1e-10}
    assert checked_point(MIXED, point)["rate"] == 1.0
    assert checked_point(MIXED, point)["steps"] == 3.0
