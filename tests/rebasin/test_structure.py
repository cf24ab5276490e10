from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from bmerge.rebasin.structure import best_order, nested


def cells(size, count, begin=0):
    """Return groups of a size; the first and last may lie partly outside, and are marked."""
    edges = range(begin - begin % size - begin, count, size)
    spans = [(max(first, 0), min(first + size, count)) for first in edges]
    return [(a, b, None if b - a == size else f"{begin} {a}") for a, b in spans]


def keeps_groups(order, groups):
    """Tell whether an order takes every group as a whole to a group of the same make."""
    label = {channel: group for group in groups for channel in range(*group[:2])}
    for first, last, mark in groups:
        came = {label[int(channel)] for channel in order[first:last]}
        if len(came) != 1 or mark != next(iter(came))[2]:
            return False
    return True


GROUPINGS = {
    "one": [cells(3, 6)],
    "nested": [cells(1, 6), cells(3, 6)],
    "nested twice": [cells(2, 8), cells(4, 8)],
    "crosswise": [cells(2, 6), cells(3, 6)],
    "with neighbours": [cells(2, 6), cells(4, 6, begin=2)],
}


@pytest.mark.parametrize("groupings", GROUPINGS.values(), ids=GROUPINGS)
def test_every_order_is_valid(groupings):
    size = groupings[0][-1][1]
    structure = nested(0, size, groupings)
    rng = np.random.default_rng(0)
    for _ in range(50):
        order = best_order(structure, rng.random((size, size), np.float32))
        assert sorted(order) == list(range(size))
        assert all(keeps_groups(order, groups) for groups in groupings)


@pytest.mark.parametrize("name", ["one", "nested", "nested twice"])
def test_order_is_the_best_of_all_valid_ones(name):
    groupings = GROUPINGS[name]
    size = groupings[0][-1][1]
    valid = [
        order
        for order in permutations(range(size))
        if all(keeps_groups(order, groups) for groups in groupings)
    ]
    rng = np.random.default_rng(1)
    for _ in range(5):
        gain = rng.random((size, size), np.float32)
        found = best_order(nested(0, size, groupings), gain)
        best = max(sum(gain[i, j] for i, j in enumerate(order)) for order in valid)
        assert sum(gain[i, j] for i, j in enumerate(found)) == pytest.approx(best)


def test_without_groups_any_order_is_valid():
    gain = np.eye(5, dtype=np.float32)[:, ::-1]
    assert list(best_order(nested(0, 5, []), gain)) == [4, 3, 2, 1, 0]
