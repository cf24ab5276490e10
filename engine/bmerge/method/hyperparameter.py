"""Hyperparameters of merge methods: names with a default, a search range and bounds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar

from bmerge.records import dataclass

if TYPE_CHECKING:
    from typing_extensions import TypeAliasType

__all__ = ["EACH_MODEL", "Hyperparameter", "PerModel", "Range", "Weight"]


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

EACH_MODEL: Final = "each model"
"""Marks the annotation of a hyperparameter that has a value for each model."""

if TYPE_CHECKING:
    _T = TypeVar("_T")
    PerModel = TypeAliasType("PerModel", Any, type_params=(_T,))
else:

    class PerModel:
        """``PerModel[Weight]``: a hyperparameter with one value for each of ``*models``.

        The default is one number. A method's body gets a tuple, in the order of the models; in
        recipes and studies the values are called ``weight_1``, ``weight_2``, …, and ``weight``
        is that of all which have none of their own.
        """

        def __class_getitem__(cls, item: object) -> object:
            """Return the annotation."""
            return Annotated[item, EACH_MODEL]


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
        per_model: whether there is one for each of the method's further models.
    """

    name: str
    default: float
    low: float
    high: float
    minimum: float | None = None
    maximum: float | None = None
    per_model: bool = False

    def of_models(self, count: int) -> tuple[Hyperparameter, ...]:
        """Return what it is for ``count`` models: itself, or name_1, name_2, … if per model."""
        if not self.per_model:
            return (self,)
        numbered = (f"{self.name}_{index}" for index in range(1, count + 1))
        return tuple(replace(self, name=name, per_model=False) for name in numbered)

    def problem(self, value: float) -> str | None:
        """Say what is wrong with ``value``; None if it is valid."""
        if not math.isfinite(value):
            return f"{value} is not a finite number"
        if self.minimum is not None and value < self.minimum:
            return f"{value} is less than {self.minimum}"
        if self.maximum is not None and value > self.maximum:
            return f"{value} is greater than {self.maximum}"
        return None
