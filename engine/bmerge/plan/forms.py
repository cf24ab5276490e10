"""What one tensor of the output is made of: models, differences, and steps applied to them.

A form says which steps take part for a key, which follows from what keys the models have; it
knows no hyperparameters. Most keys of a merge have the same form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

__all__ = ["Applied", "Form", "Leaf", "Minus", "Zero", "leaves", "renamed"]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A model's tensor.

    Args:
        model: index of the model in the recipe.
    """

    model: int


@dataclass(frozen=True, slots=True)
class Zero:
    """The difference that changes nothing."""


@dataclass(frozen=True, slots=True)
class Minus:
    """A difference.

    Args:
        x: what is subtracted from.
        y: what is subtracted.
    """

    x: Form
    y: Form


@dataclass(frozen=True, slots=True)
class Applied:
    """A step's method applied.

    Args:
        step: name of the step.
        inputs: in the order of the method's parameters.
    """

    step: str
    inputs: tuple[Form, ...]


Form: TypeAlias = "Leaf | Zero | Minus | Applied"


@lru_cache(maxsize=256)
def leaves(form: Form) -> tuple[int, ...]:
    """Return the models that a form needs, ascending."""
    return tuple(sorted(_models(form)))


def _models(form: Form) -> set[int]:
    if isinstance(form, Leaf):
        return {form.model}
    inputs = form.inputs if isinstance(form, Applied) else _parts(form)
    return {model for each in inputs for model in _models(each)}


def _parts(form: Form) -> tuple[Form, ...]:
    return (form.x, form.y) if isinstance(form, Minus) else ()


def renamed(form: Form, models: Mapping[int, int]) -> Form:
    """Return a form with other models in the place of its own."""
    if isinstance(form, Leaf):
        return Leaf(models[form.model])
    if isinstance(form, Minus):
        return Minus(renamed(form.x, models), renamed(form.y, models))
    if isinstance(form, Applied):
        return Applied(form.step, tuple(renamed(each, models) for each in form.inputs))
    return form
