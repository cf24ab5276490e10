"""What one tensor of the output is made of: models, differences, and steps applied to them.

A form says which steps take part for a key, which follows from what keys the models have; it
knows no hyperparameters. Most keys of a merge have the same form.

Forms share their parts, as a step's result may be needed many times. Two that are equal are one
object, as long as they are made by the same :class:`Forms`: so they are compared and looked up
without a look at their parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias

from bmerge.recipe.order import in_order
from bmerge.records import dataclass

__all__ = ["Applied", "Form", "Forms", "Leaf", "Minus", "Zero", "leaves", "parts_first"]


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


@dataclass(frozen=True, slots=True, eq=False)
class Minus:
    """A difference; made by :meth:`Forms.minus`.

    Args:
        x: what is subtracted from.
        y: what is subtracted.
        models: that it needs, ascending.
    """

    x: Form
    y: Form
    models: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """A step's method applied; made by :meth:`Forms.applied`.

    Args:
        step: name of the step.
        inputs: in the order of the method's parameters.
        models: that it needs, ascending.
    """

    step: str
    inputs: tuple[Form, ...]
    models: tuple[int, ...] = field(repr=False)


Form: TypeAlias = "Leaf | Zero | Minus | Applied"


class Forms:
    """Makes forms; the same one again for the same parts."""

    def __init__(self) -> None:
        self._known: dict[tuple[str | None, tuple[Form, ...]], Minus | Applied] = {}
        self._renamed: dict[tuple[Form, tuple[tuple[int, int], ...]], Form] = {}

    def minus(self, x: Form, y: Form) -> Form:
        """Return the difference of two forms."""
        known = self._known.get((None, (x, y)))
        if known is None:
            known = self._known[None, (x, y)] = Minus(x, y, _models((x, y)))
        return known

    def applied(self, step: str, inputs: tuple[Form, ...]) -> Form:
        """Return a step applied to forms."""
        known = self._known.get((step, inputs))
        if known is None:
            known = self._known[step, inputs] = Applied(step, inputs, _models(inputs))
        return known

    def renamed(self, form: Form, models: Mapping[int, int]) -> Form:
        """Return a form with other models in the place of its own."""
        key = form, tuple(models.items())
        if key not in self._renamed:
            made: dict[Form, Form] = {}
            for part in parts_first(form):
                if isinstance(part, Leaf):
                    made[part] = Leaf(models[part.model])
                elif isinstance(part, Minus):
                    made[part] = self.minus(made[part.x], made[part.y])
                elif isinstance(part, Applied):
                    inputs = tuple(made[each] for each in part.inputs)
                    made[part] = self.applied(part.step, inputs)
                else:
                    made[part] = part
            self._renamed[key] = made[form]
        return self._renamed[key]


def leaves(form: Form) -> tuple[int, ...]:
    """Return the models that a form needs, ascending."""
    if isinstance(form, Leaf):
        return (form.model,)
    return () if isinstance(form, Zero) else form.models


def parts_first(form: Form) -> list[Form]:
    """Return a form and all that it is made of, each once, after its own parts."""
    return in_order((form,), _parts)


def _parts(form: Form) -> tuple[Form, ...]:
    if isinstance(form, Applied):
        return form.inputs
    return (form.x, form.y) if isinstance(form, Minus) else ()


def _models(parts: tuple[Form, ...]) -> tuple[int, ...]:
    each = [leaves(part) for part in dict.fromkeys(parts)]
    if len(each) == 1:
        return each[0]
    return tuple(sorted(set().union(*each)))
