"""Hyperparameters of merge methods: names with a default, a search range and bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, TypeAlias

__all__ = ["Hyperparameter", "Range", "Weight"]


@dataclass(frozen=True, slots=True)
class Range:
    """What values a hyperparameter takes; written inside ``Annotated[float, Range(…)]``.

    Args:
        low: least value that a study searches.
        high: greatest value that a study searches.
        minimum: least value that has a meaning; None if there is no such limit.
        maximum: greatest value that has a meaning; None if there is no such limit.
    """

    low: float
    high: float
    minimum: float | None = None
    maximum: float | None = None


Weight: TypeAlias = Annotated[float, Range(0.0, 1.0)]
"""A hyperparameter that is searched in 0 … 1 and may be any number."""


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """A number that a merge method takes, one value per block.

    Args:
        name: of the function's parameter, and everywhere else.
        default: used where none is given.
        low: least value that a study searches.
        high: greatest value that a study searches.
        minimum: least valid value, or None.
        maximum: greatest valid value, or None.
    """

    name: str
    default: float
    low: float
    high: float
    minimum: float | None = None
    maximum: float | None = None

    def problem(self, value: float) -> str | None:
        """Say what is wrong with ``value``; None if it is valid."""
        if not math.isfinite(value):
            return f"{value} is not a finite number"
        if self.minimum is not None and value < self.minimum:
            return f"{value} is less than {self.minimum}"
        if self.maximum is not None and value > self.maximum:
            return f"{value} is greater than {self.maximum}"
        return None
