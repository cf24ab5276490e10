"""What is computed for a form in a block: one graph of all steps, or a copy of a model's tensor.

In some blocks a step changes nothing (its weight is 0, say); there its input takes its place,
so that what remains of a recipe is copied wherever that is all there is to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError
from bmerge.expr import Composition, Graph, reduces_to_input
from bmerge.plan.forms import Applied, Form, Leaf, Minus, Zero, leaves
from bmerge.plan.steps import PlannedStep

__all__ = ["Composed", "Composer"]

_Place: TypeAlias = "tuple[str, frozenset[str]]"
"""A block, and the patterns with values of their own that a key in it matches."""


@dataclass(frozen=True, slots=True)
class Composed:
    """What is computed from the tensors of a form's models.

    Args:
        graph: the computation.
        scalars: the hyperparameters' values, in the order of ``graph.scalars``.
        inputs: of the form's models, those that the graph's inputs are.
    """

    graph: Graph
    scalars: tuple[float, ...]
    inputs: tuple[int, ...]


class Composer:
    """Composes the steps of a plan; forms and blocks that were seen before are looked up.

    Args:
        steps: in an order in which they can be computed.
        architecture: for the values of hyperparameters.
    """

    def __init__(self, steps: Sequence[PlannedStep], architecture: Architecture) -> None:
        self._steps = {planned.step.name: planned for planned in steps}
        self._architecture = architecture
        self._patterns = [pattern for planned in steps for pattern in planned.patterns]
        self._unused = set(self._patterns)
        self._scalars: dict[tuple[str, _Place], tuple[float, ...]] = {}
        self._known: dict[tuple[Form, _Place], Composed | int] = {}
        self._graphs: dict[Form, tuple[Graph, tuple[str, ...]]] = {}

    def of(self, form: Form, block: str, key: str) -> Composed | int:
        """Return what a form is for a key: a computation, or one of its models as it is."""
        matching = frozenset(p for p in self._patterns if fnmatchcase(key, p))
        self._unused -= matching
        place = block, matching
        if (form, place) not in self._known:
            self._known[form, place] = self._composed(form, place)
        return self._known[form, place]

    def check(self) -> None:
        """Refuse weights for keys that there are not, once all keys have been looked at.

        Raises:
            RecipeError: names the pattern.
        """
        for pattern in self._patterns:
            if pattern in self._unused:
                message = f"{pattern!r} matches no key that is merged"
                raise RecipeError(message, hint="a pattern is for whole keys: '*attn1*', say")

    def _composed(self, form: Form, place: _Place) -> Composed | int:
        models = leaves(form)
        reduced = self._reduced(form, place)
        if isinstance(reduced, Leaf):
            return models.index(reduced.model)
        if reduced not in self._graphs:
            self._graphs[reduced] = self._graph(reduced)
        graph, steps = self._graphs[reduced]
        scalars = tuple(value for name in steps for value in self._values(name, place))
        inputs = tuple(models.index(model) for model in leaves(reduced))
        return Composed(graph, scalars, inputs)

    def _values(self, step: str, place: _Place) -> tuple[float, ...]:
        """Return the values of a step's hyperparameters."""
        if (step, place) not in self._scalars:
            values = self._steps[step].scalars(*place, self._architecture)
            self._scalars[step, place] = values
        return self._scalars[step, place]

    def _reduced(self, form: Form, place: _Place) -> Form:
        """Put the input of a step in its place where the step only copies it."""
        if isinstance(form, Minus):
            return Minus(self._reduced(form.x, place), self._reduced(form.y, place))
        if not isinstance(form, Applied):
            return form
        inputs = tuple(self._reduced(each, place) for each in form.inputs)
        same = tuple(map(inputs.index, inputs))
        graph = self._steps[form.step].graph
        chosen = reduces_to_input(graph, self._values(form.step, place), same)
        return Applied(form.step, inputs) if chosen is None else inputs[chosen]

    def _graph(self, form: Form) -> tuple[Graph, tuple[str, ...]]:
        """Return the graph of a form, and the steps whose scalars it takes, in order."""
        models = leaves(form)
        plain = tuple(map(Leaf, models))
        if isinstance(form, Applied) and form.inputs == plain:
            return self._steps[form.step].graph, (form.step,)
        composition = Composition()
        results: dict[Form, int] = {}
        steps: list[str] = []

        def result(form: Form) -> int:
            if form not in results:
                results[form] = make(form)
            return results[form]

        def make(form: Form) -> int:
            if isinstance(form, Leaf):
                return composition.input(models.index(form.model))
            if isinstance(form, Zero):
                return composition.zero()
            if isinstance(form, Minus):
                return composition.subtract(result(form.x), result(form.y))
            inputs = [result(each) for each in form.inputs]
            planned = self._steps[form.step]
            steps.append(form.step)
            return composition.inline(planned.graph, inputs, planned.graph.scalars)

        return composition.graph(result(form), len(models)), tuple(steps)
