"""Points of a search space that come from outside: are they what their parameters allow?"""

from __future__ import annotations

import math
from collections.abc import Mapping

from bmerge.study.protocols import Parameter, Space

__all__ = ["checked_point"]

_TOLERANCE = 1e-9  # of a value against its bounds, relative to their width


def checked_point(space: Space, point: Mapping[str, float]) -> dict[str, float]:
    """Return ``point`` as floats, moved onto what they miss by rounding only.

    Args:
        space: that it must be in.
        point: parameter → value.

    Raises:
        ValueError: that says what of it is wrong.
    """
    if set(point) != set(space.names):
        raise ValueError("values for other parameters than asked for")
    values = {p.name: _checked(p, float(point[p.name])) for p in space.parameters}
    for group, members in space.simplices.items():
        total = math.fsum(values[p.name] for p in members)
        if abs(total - 1) > _TOLERANCE * len(members):
            raise ValueError(f"weights of {group} that sum to {total:g}, not to 1")
    return values


def _checked(p: Parameter, value: float) -> float:
    slack = _TOLERANCE * (p.high - p.low)
    if not (math.isfinite(value) and p.low - slack <= value <= p.high + slack):
        raise ValueError(f"{p.name} = {value:g}, outside [{p.low:g}, {p.high:g}]")
    value = min(max(value, p.low), p.high)
    if not (p.integer or p.choices):
        return value
    whole = float(round(value))
    if abs(whole - value) > slack:
        raise ValueError(f"{p.name} = {value:g}, which is not a whole number")
    return whole
