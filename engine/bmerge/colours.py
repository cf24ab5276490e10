"""Colours of pages and drawings: a scale for weights, a palette for phases.

The weight scale runs in OKLab (Ottosson 2020), so equal steps of weight look equal: blue for
the low end, a light grey in the middle, orange for the high end; told apart in every common
kind of colour blindness. Cells carry their own text colour, so they read in light and dark.
"""

from __future__ import annotations

__all__ = ["PALETTE", "ink_on", "weight_colour"]

PALETTE = ("#8a8f98", "#1f9e89", "#7c5cd6", "#d1495b", "#c98a1b", "#3577c7")
"""Phases in their order of appearance; the first is the quiet one."""

_Lab = tuple[float, float, float]
_LOW: _Lab = (0.52, -0.035, -0.155)
_MIDDLE: _Lab = (0.93, 0.0, 0.005)
_HIGH: _Lab = (0.68, 0.105, 0.125)
_TOE = 0.04045  # up to here, sRGB is linear


def weight_colour(value: float, low: float, high: float) -> str:
    """Return ``#rrggbb`` for a weight on the scale from ``low`` to ``high``; it is clamped."""
    share = 0.5 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))
    distance = 2 * share - 1
    return _hex(_blend(_MIDDLE, _HIGH if distance > 0 else _LOW, abs(distance)))


def ink_on(colour: str) -> str:
    """Return the text colour, near-black or white, that reads better on ``#rrggbb``."""
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#0c0e12" if (luminance + 0.05) ** 2 > 1.05 * 0.055 else "#ffffff"


def _blend(a: _Lab, b: _Lab, share: float) -> _Lab:
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )


def _hex(lab: _Lab) -> str:
    lightness, a, b = lab
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    rgb = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(value)):02x}" for value in rgb)


def _gamma(linear: float) -> float:
    linear = min(1.0, max(0.0, linear))
    return 12.92 * linear if linear <= _TOE / 12.92 else 1.055 * linear ** (1 / 2.4) - 0.055


def _linear(gamma: float) -> float:
    return gamma / 12.92 if gamma <= _TOE else ((gamma + 0.055) / 1.055) ** 2.4
