"""Weight matching: the orders of a model's channels that bring it nearest to another model.

Git Re-Basin (Ainsworth et al. 2022), algorithm 1: one space after the other gets the best order
while all others keep theirs, an assignment problem, until none changes any more. Every step can
only bring the models nearer to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from bmerge.dtypes import is_float
from bmerge.formats import Checkpoint, refuse_quantised
from bmerge.rebasin.rule import ChannelRule
from bmerge.rebasin.structure import Gain, Order, best_order
from bmerge.rebasin.weights import floats
from bmerge.rebasin.wiring import Axis, Segment

__all__ = ["Alignment", "match_weights"]

_MOST_SWEEPS = 50
_SIGNIFICANT = 1e-7
"""Part of the gain by which an order must be better: float32 sums are no more exact."""

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
        gain, complete = self._gain(name, orders, known=orders if first else None)
        old = orders.get(name, np.arange(len(gain)))
        new = best_order(self._rule.structures[name], gain)
        places = np.arange(len(gain))
        was, will_be = (gain[places, o].sum(dtype=np.float64) for o in (old, new))
        better = will_be - was > _SIGNIFICANT * abs(was)
        orders[name] = new if better else old
        again = set() if complete else {name}
        return again | (self._neighbours(name) if better else set())

    def _gain(
        self, name: str, orders: Mapping[str, Order], known: Collection[str] | None
    ) -> tuple[Gain, bool]:
        """Return what each place is worth to each channel, and whether all tensors told so."""
        size = self._rule.sizes[name]
        gain = np.zeros((size, size), np.float32)
        complete = True
        for key, uses in self._uses[name].items():
            axes = self._rule.axes[key]
            dim = uses[0].dim
            others = tuple(() if d == dim else axis for d, axis in enumerate(axes))
            if known is not None and not _spaces(others) <= set(known):
                complete = False
                continue
            theirs = floats(self._reference[key], rows=dim)
            ours = floats(self._model[key], others, orders, rows=dim)
            for use in uses:
                stretch = slice(use.at, use.at + use.segment.length)
                place = slice(use.segment.start, use.segment.start + use.segment.length)
                gain[place, place] += theirs[stretch] @ ours[stretch].T
        return gain, complete

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


def _spaces(axes: Iterable[Axis]) -> set[str]:
    return {segment.space for axis in axes for segment in axis}
