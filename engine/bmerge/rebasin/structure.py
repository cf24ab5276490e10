"""Which orders of channels are valid, and the best of them.

A structure says what may change places: single channels (:class:`Free`), or whole parts of the
same make (:class:`AlikeParts`), while other parts stay where they are (:class:`Fixed`). Group
normalisation makes such structures: a channel may leave its group only together with all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise, product
from typing import Any, TypeAlias

import numpy as np
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

from bmerge.records import dataclass

__all__ = [
    "AlikeParts",
    "Cell",
    "Fixed",
    "Free",
    "Gain",
    "Order",
    "Structure",
    "best_order",
    "nested",
]

Gain: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
Order: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
Cell: TypeAlias = "tuple[int, int, str | None]"
"""First channel of a group, the one after its last, and a mark if it is unlike any other."""


@dataclass(frozen=True, slots=True)
class Free:
    """Channels ``start`` up to ``stop`` in any order."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Fixed:
    """Parts that keep their places; each is ordered within itself."""

    parts: tuple[Structure, ...]


@dataclass(frozen=True, slots=True)
class AlikeParts:
    """Parts of the same make that may change places; each is ordered within itself too."""

    parts: tuple[Structure, ...]


Structure: TypeAlias = "Free | Fixed | AlikeParts"
_Pairs: TypeAlias = "list[tuple[Order, Order]]"


def best_order(structure: Structure, gain: Gain) -> Order:
    """Return the valid order with the greatest sum of gains.

    Args:
        structure: what is valid.
        gain: at [i, j], what it is worth to have channel j at place i.

    Returns:
        For each place the channel that comes there.
    """
    order = np.arange(len(gain))
    for places, channels in _assign(structure, structure, gain)[1]:
        order[places] = channels
    return order


def nested(start: int, stop: int, groupings: Iterable[Sequence[Cell]]) -> Structure:
    """Return the structure that keeps every group of every grouping a group.

    Where the groups of all groupings end together the interval is cut, and pieces that are
    grouped alike may change places. A piece in which groupings overlap crosswise keeps its
    order, but for the channels that no grouping tells apart.

    Args:
        start: first channel.
        stop: the one after the last.
        groupings: each a sequence of cells that cover the interval.
    """
    cutting = [cells for cells in groupings if len(cells) > 1]
    if not cutting:
        return Free(start, stop)
    ends = [{cell[1] for cell in cells} for cells in cutting]
    common = sorted(set.intersection(*ends))
    if len(common) == 1:
        atoms = sorted(set.union(*ends))
        return Fixed(tuple(Free(a, b) for a, b in pairwise([start, *atoms])))
    kinds: dict[Any, list[Structure]] = {}
    for a, b in pairwise([start, *common]):
        inside = [[cell for cell in cells if a <= cell[0] < b] for cells in cutting]
        make = tuple(tuple((c[0] - a, c[1] - a, c[2]) for c in cells) for cells in inside)
        kinds.setdefault(make, []).append(nested(a, b, inside))
    parts = [AlikeParts(tuple(same)) if len(same) > 1 else same[0] for same in kinds.values()]
    return Fixed(tuple(parts)) if len(parts) > 1 else parts[0]


def _assign(to: Structure, of: Structure, gain: Gain) -> tuple[float, _Pairs]:
    """Return the best gain of bringing ``of`` to the place of its like, ``to``, and how."""
    if isinstance(to, Free) and isinstance(of, Free):
        part = gain[to.start : to.stop, of.start : of.stop]
        places, channels = linear_sum_assignment(part, maximize=True)
        value = float(part[places, channels].sum(dtype=np.float64))
        return value, [(places + to.start, channels + of.start)]
    if isinstance(to, AlikeParts) and isinstance(of, AlikeParts):
        results = {
            (i, j): _assign(a, b, gain)
            for (i, a), (j, b) in product(enumerate(to.parts), enumerate(of.parts))
        }
        count = len(to.parts)
        values = np.array([results[i, j][0] for i in range(count) for j in range(count)])
        places, chosen = linear_sum_assignment(values.reshape(count, count), maximize=True)
        return _together(results[int(i), int(j)] for i, j in zip(places, chosen, strict=True))
    assert isinstance(to, Fixed)
    assert isinstance(of, Fixed)
    return _together(_assign(a, b, gain) for a, b in zip(to.parts, of.parts, strict=True))


def _together(results: Iterable[tuple[float, _Pairs]]) -> tuple[float, _Pairs]:
    total, pairs = 0.0, []
    for value, part in results:
        total += value
        pairs += part
    return total, pairs
