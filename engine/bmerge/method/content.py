"""What a method takes and gives: weights of models, or differences of weights.

Most methods take and give models; those annotate nothing. ``Difference`` marks a parameter or
result that is a difference, ``Alike`` those that may be either as long as all of them are.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, TypeAlias

__all__ = ["Alike", "ContentKind", "Difference"]


class ContentKind(Enum):
    """What the tensors of a parameter or result hold."""

    MODEL = "model"
    DIFFERENCE = "difference"
    ALIKE = "alike"


Difference: TypeAlias = Annotated[Any, ContentKind.DIFFERENCE]
"""A parameter or result of a merge method that is what is to be added to a model."""

Alike: TypeAlias = Annotated[Any, ContentKind.ALIKE]
"""Parameters and result of a method that takes models or differences, but all of one kind."""
