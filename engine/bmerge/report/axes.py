"""Axes of plots: a linear scale with round ticks, whatever the numbers are.

Scores may be tiny, constant, huge or negative. Labels of ticks have the digits that tell them
apart; where these would be many, they count from a base that the axis is labelled with.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from bmerge.records import dataclass

__all__ = ["Axis", "axis_of"]

_LARGEST = 1e300  # what lies beyond is drawn at the edge, so that differences stay finite
_NOISE = 1e-12  # of the greatest value: what differs by less is equal but for rounding
_NOTHING = 1e-290  # what differs by less cannot be divided any more
_MOST_DECIMALS = 4  # beyond, powers of ten are shorter
_LEAST_POWER = 1e7  # likewise
_LONGEST = 9  # letters of a label that fits beside the axis


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale.

    Args:
        low: value at ``start``.
        high: value at ``end``.
        start: coordinate, in the view box.
        end: coordinate, in the view box.
        ticks: round values to be labelled.
        step: between two ticks.
        label: what is measured.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    step: float
    label: str

    def at(self, value: float) -> float:
        """Return the coordinate of a value; of one beyond the scale, that of its end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def text(self, tick: float) -> str:
        """Return a tick's label, with as many digits as tell it from its neighbours."""
        if self._counted:
            return f"+{round((tick - self.ticks[0]) / self.step) * self.step:.3g}"
        return self._plain(tick)

    @property
    def caption(self) -> str:
        """What is measured, and from where on the ticks count if that is not 0."""
        if not self._counted:
            return self.label
        sign = "+" if self.ticks[0] < 0 else "−"
        return f"{self.label} {sign} {self._plain(abs(self.ticks[0]))}"

    @property
    def _counted(self) -> bool:
        """Whether the ticks are labelled by their distance from the first."""
        return max(len(self._plain(tick)) for tick in self.ticks) > _LONGEST

    def _plain(self, tick: float) -> str:
        decimals = max(0, -_exponent(self.step))
        greatest = max(map(abs, self.ticks)) or self.step
        if decimals <= _MOST_DECIMALS and greatest < _LEAST_POWER:
            return f"{tick:.{decimals}f}"
        return f"{tick:.{_exponent(greatest) - _exponent(self.step) + 1}g}"


def axis_of(
    values: Iterable[float | None],
    start: float,
    end: float,
    label: str,
    *,
    count: int,
    whole: bool = False,
) -> Axis:
    """Return an axis that holds the values with a little room, and about ``count`` ticks.

    Args:
        values: one or more finite ones; None is passed over.
        start: coordinate of the low end.
        end: coordinate of the high end.
        label: what is measured.
        count: of ticks.
        whole: whether ticks are whole numbers only.
    """
    known = [min(max(value, -_LARGEST), _LARGEST) for value in values if value is not None]
    low, high = min(known), max(known)
    room = 0.6 if whole else _room(low, high)
    low, high = low - room, high + room
    factor, exponent = _round_step((high - low) / count)
    if whole and exponent < 0:
        factor, exponent = 1, 0
    step = _decimal(factor, exponent)
    first, last = math.ceil(low / step), math.floor(high / step)
    ticks = tuple(_decimal(index * factor, exponent) for index in range(first, last + 1))
    return Axis(low, high, start, end, ticks, step, label)


def _room(low: float, high: float) -> float:
    """Return how far the axis goes beyond its values: a share of their range, or of themselves."""
    greatest = max(abs(low), abs(high))
    if high - low > max(_NOISE * greatest, _NOTHING):
        return (high - low) * 0.06
    return greatest * 0.05 if greatest > _NOTHING else 0.5


def _round_step(step: float) -> tuple[int, int]:
    """Return 1, 2 or 5 and the power of ten of the least round number not below ``step``."""
    exponent = math.floor(math.log10(step))
    for factor in (1, 2, 5):
        if _decimal(factor, exponent) >= step * 0.999:
            return factor, exponent
    return 1, exponent + 1


def _decimal(factor: int, exponent: int) -> float:
    """Return the number nearest to ``factor`` times a power of ten."""
    return float(f"{factor}e{exponent}")


def _exponent(value: float) -> int:
    """Return the power of ten of a number's first digit."""
    return int(f"{abs(value):e}".partition("e")[2])
