"""Scores as text: decimals where they say something, powers of ten where they do not."""

from __future__ import annotations

__all__ = ["figure", "interval"]


def figure(value: float, digits: int = 4) -> str:
    """Return a number for reading.

    Args:
        value: the number.
        digits: decimals; or significant digits where that many decimals say nothing of it, or
            it is so large that nobody would count its digits.
    """
    readable = value == 0 or 10**-digits <= abs(value) < 10 ** (digits + 3)
    return f"{value:.{digits}{'f' if readable else 'g'}}"


def interval(low: float, high: float, digits: int = 4) -> str:
    """Return two bounds for reading, each as :func:`figure` has it."""
    return f"{figure(low, digits)} … {figure(high, digits)}"
