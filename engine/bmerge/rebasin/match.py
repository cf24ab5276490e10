"""Weight matching: the orders of a model's channels that bring it nearest to another model.

Git Re-Basin (Ainsworth et al. 2022), algorithm 1: one space after the other gets the best order
while all others keep theirs, an assignment problem, until none changes any more. Every step can
only bring the models nearer to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TypeAlias

import numpy as np

from bmerge.dtypes import is_float
from bmerge.formats import Checkpoint, refuse_quantised
from bmerge.rebasin.rule import ChannelRule
from bmerge.rebasin.structure import Gain, Order, best_order
from bmerge.rebasin.weights import floats
from bmerge.rebasin.wiring import Axis, Segment
from bmerge.records import dataclass

__all__ = ["Alignment", "match_weights"]

_MOST_SWEEPS = 50
_SIGNIFICANT = 1e-7
"""Part of the gain by which an order must be better: float32 sums are no more exact."""

_SAMPLE = 64
"""Weights that tell a channel from others in a tensor, and are compared at least."""
_PART = 16
"""Of more weights the first of so many parts are compared."""
_ROUNDING = 1e-5
"""Part of squares by which float32 may sum them up wrongly, and more."""

Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Alignment:
    """How to put a model's channels to bring it nearest to another.

    Args:
        orders: space → for each place the channel that comes there.
        before: distance of the two models, as a part of the first one's norm.
        after: the same when the channels are in order.
        sweeps: how often all spaces were gone through.
    """

    orders: Mapping[str, Order]
    before: float
    after: float
    sweeps: int

    @property
    def channels(self) -> int:
        """How many channels have an order that is the model's own."""
        return sum(map(len, self.orders.values()))

    @property
    def moved(self) -> int:
        """How many of them change places."""
        return sum(int((order != np.arange(len(order))).sum()) for order in self.orders.values())


def match_weights(
    reference: Checkpoint,
    model: Checkpoint,
    rule: ChannelRule,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Alignment:
    """Find the orders of a model's channels that bring it nearest to a reference.

    The first sweep goes from input to output and looks at what is in order already: a model
    that is the reference in another order is so put back exactly. Later ones look at everything,
    in random order. No result is farther from the reference than the model as it was.

    Args:
        reference: stays as it is.
        model: of the same architecture.
        rule: of the model.
        seed: of the random order of sweeps.
        progress: called with the number of the sweep and how many spaces it has gone through.

    Raises:
        FormatError: if the reference's weights are quantised.
    """
    refuse_quantised(reference)
    matching = _Matching(reference, model, rule)
    random = np.random.default_rng(seed)
    orders: dict[str, Order] = {}
    names = list(rule.structures)
    waiting = set(names)
    sweep = 0
    while waiting and sweep < _MOST_SWEEPS:
        for number, name in enumerate(names):
            if name in waiting:
                waiting.discard(name)
                waiting |= matching.improve(name, orders, first=sweep == 0)
            if progress is not None:
                progress(sweep + 1, number + 1)
        sweep += 1
        random.shuffle(names)
    before, after = matching.distance({}), matching.distance(orders)
    if after >= before:
        orders = {name: np.arange(len(order)) for name, order in orders.items()}
    return Alignment(orders, before, min(after, before), sweep)


@dataclass(frozen=True, slots=True)
class _Use:
    """Where a tensor has a stretch of a space: dimension, first place on it, which stretch."""

    dim: int
    at: int
    segment: Segment


_Rows: TypeAlias = "tuple[slice, Gain, Gain]"
"""Places on a space, and the weights of two models that belong to them, one row for each."""


class _Matching:
    """Two models and what is wired to what in them."""

    def __init__(self, reference: Checkpoint, model: Checkpoint, rule: ChannelRule) -> None:
        self._reference = reference.tensors
        self._model = model.tensors
        self._rule = rule
        self._keys = [key for key in rule.axes if self._comparable(key)]

    def _comparable(self, key: str) -> bool:
        own, other = self._model[key], self._reference.get(key)
        return other is not None and own.shape == other.shape and is_float(own.dtype)

    @cached_property
    def _uses(self) -> dict[str, dict[str, list[_Use]]]:
        """Space → key of a tensor → where the space is on its axes."""
        uses: dict[str, dict[str, list[_Use]]] = {name: {} for name in self._rule.structures}
        for key in self._keys:
            for dim, axis in enumerate(self._rule.axes[key]):
                at = 0
                for segment in axis:
                    uses[segment.space].setdefault(key, []).append(_Use(dim, at, segment))
                    at += segment.length
        return uses

    def improve(self, name: str, orders: dict[str, Order], *, first: bool) -> set[str]:
        """Give a space the best order; return the spaces that are to be looked at again.

        Args:
            name: of the space.
            orders: of all spaces so far; changed.
            first: whether spaces without an order yet are unknown, and what is wired to them
                tells nothing.
        """
        told = self._told(name, known=orders if first else None)
        again = set() if len(told) == len(self._uses[name]) else {name}
        old = orders.setdefault(name, np.arange(self._rule.sizes[name]))
        if self._is_best(name, told, orders):
            return again
        gain = self._gain(name, told, orders)
        new = best_order(self._rule.structures[name], gain)
        places = np.arange(len(gain))
        was, will_be = (gain[places, o].sum(dtype=np.float64) for o in (old, new))
        if will_be - was <= _SIGNIFICANT * abs(was):
            return again
        orders[name] = new
        return again | self._neighbours(name)

    def _told(self, name: str, known: Collection[str] | None) -> list[str]:
        """Return the tensors that tell of a space: those whose other axes are in known orders."""
        return [
            key
            for key, uses in self._uses[name].items()
            if known is None or _spaces(self._others(key, uses[0])) <= set(known)
        ]

    def _others(self, key: str, use: _Use) -> tuple[Axis, ...]:
        """Return the axes of a tensor without the one of a use."""
        axes = self._rule.axes[key]
        return tuple(() if dim == use.dim else axis for dim, axis in enumerate(axes))

    def _rows(self, name: str, key: str, orders: Mapping[str, Order]) -> Iterator[_Rows]:
        """Yield where a tensor has channels of a space, and both models' weights of each."""
        uses = self._uses[name][key]
        theirs = floats(self._reference[key], rows=uses[0].dim)
        ours = floats(self._model[key], self._others(key, uses[0]), orders, rows=uses[0].dim)
        for use in uses:
            stretch = slice(use.at, use.at + use.segment.length)
            place = slice(use.segment.start, use.segment.start + use.segment.length)
            yield place, theirs[stretch], ours[stretch]

    def _gain(self, name: str, told: Iterable[str], orders: Mapping[str, Order]) -> Gain:
        """Return what each place is worth to each channel."""
        size = self._rule.sizes[name]
        gain = np.zeros((size, size), np.float32)
        for key in told:
            for place, theirs, ours in self._rows(name, key, orders):
                gain[place, place] += theirs @ ours.T
        return gain

    def _is_best(self, name: str, told: Iterable[str], orders: Mapping[str, Order]) -> bool:
        """Tell whether it is certain that no order is better, at a fraction of the cost.

        The best order has the least sum of squared distances between places and their channels,
        and distances over some of the weights are not greater than those over all. So where the
        order of a space is best though all other channels are compared by some weights alone, it
        is best.
        """
        order, size = orders[name], self._rule.sizes[name]
        least = np.zeros((size, size), np.float32)
        own = np.zeros(size)
        for key in told:
            for place, theirs, ours in self._rows(name, key, orders):
                within, columns = order[place] - place.start, theirs.shape[1]
                pairs = zip(theirs, within, strict=True)
                apart = np.array([_square(row - ours[channel]) for row, channel in pairs])
                sample = max(columns // _PART, min(columns, _SAMPLE))
                some = _distances(theirs[:, :sample], ours[:, :sample])
                own[place] += apart
                least[place, place] += some
                some[np.arange(len(some)), within] = np.inf
                if apart.sum() * sample > some.min(axis=1).sum() * columns and columns > _SAMPLE:
                    return False  # as good as certain: the rest need not be read twice
        places = np.arange(size)
        least[places, order] = own
        best = best_order(self._rule.structures[name], -least)
        found, present = (least[places, o].sum(dtype=np.float64) for o in (best, order))
        return bool(found >= present)

    def _neighbours(self, name: str) -> set[str]:
        """Return the spaces that share a tensor with a space, on another axis."""
        return {
            space
            for key, uses in self._uses[name].items()
            for dim, axis in enumerate(self._rule.axes[key])
            if dim != uses[0].dim
            for space in _spaces((axis,))
        }

    def distance(self, orders: Mapping[str, Order]) -> float:
        """Return how far the model is from the reference, as a part of the reference's norm."""
        apart = norm = 0.0
        for key in self._keys:
            theirs = floats(self._reference[key])
            ours = floats(self._model[key], self._rule.axes[key], orders)
            norm += float(np.square(theirs).sum(dtype=np.float64))
            apart += float(np.square(np.subtract(ours, theirs, out=theirs)).sum(dtype=np.float64))
        return float(np.sqrt(apart / norm)) if norm else 0.0


def _square(row: Gain) -> float:
    return float(np.dot(row, row))


def _distances(one: Gain, other: Gain) -> Gain:
    """Return squared distances between all rows of two matrices, none greater than it is."""
    squares = [np.square(rows).sum(axis=1)[:, None] for rows in (one, other)]
    together = squares[0] + squares[1].T
    found: Gain = (1 - _ROUNDING) * together - 2 * (one @ other.T)
    return found.clip(min=0)


def _spaces(axes: Iterable[Axis]) -> set[str]:
    return {segment.space for axis in axes for segment in axis}
