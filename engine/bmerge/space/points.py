"""Points of a search space that come from outside: are they what their parameters allow?"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping

from bmerge.space.protocols import Parameter, Space

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
    given, asked = set(point), set(space.names)
    if given != asked:
        named = min(given - asked, default=None, key=str)
        told = f"no {min(asked - given)}" if named is None else f"one for {named}"
        raise ValueError(f"values for other parameters than asked for: {told}")
    values = {p.name: _checked(p, _number(p, point[p.name])) for p in space.parameters}
    for group, members in space.simplices.items():
        total = math.fsum(values[p.name] for p in members)
        if abs(total - 1) > _TOLERANCE * len(members):
            raise ValueError(f"weights of {group} that sum to {total:g}, not to 1")
    return values


def _number(p: Parameter, value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{p.name} = {reprlib.repr(value)}, not a number") from error


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
