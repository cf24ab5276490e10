"""What is computed for a form in a block: one graph of all steps, or a copy of a model's tensor.

In some blocks a step changes nothing (its weight is 0, say); there its input takes its place,
so that what remains of a recipe is copied wherever that is all there is to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bmerge.architectures import Architecture
from bmerge.expr import Composition, Graph, reduces_to_input
from bmerge.plan.forms import Applied, Form, Leaf, Minus, Zero, leaves
from bmerge.plan.steps import PlannedStep

__all__ = ["Composed", "Composer"]


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
        self._scalars = {
            (planned.step.name, block): planned.scalars(block, architecture)
            for planned in steps
            for block in architecture.blocks
        }
        self._known: dict[tuple[Form, str], Composed | int] = {}
        self._graphs: dict[Form, tuple[Graph, tuple[str, ...]]] = {}

    def of(self, form: Form, block: str) -> Composed | int:
        """Return what a form is in a block: a computation, or one of its models as it is."""
        key = (form, block)
        if key not in self._known:
            self._known[key] = self._composed(form, block)
        return self._known[key]

    def _composed(self, form: Form, block: str) -> Composed | int:
        models = leaves(form)
        reduced = self._reduced(form, block)
        if isinstance(reduced, Leaf):
            return models.index(reduced.model)
        if reduced not in self._graphs:
            self._graphs[reduced] = self._graph(reduced)
        graph, steps = self._graphs[reduced]
        scalars = tuple(value for name in steps for value in self._scalars[name, block])
        inputs = tuple(models.index(model) for model in leaves(reduced))
        return Composed(graph, scalars, inputs)

    def _reduced(self, form: Form, block: str) -> Form:
        """Put the input of a step in its place where the step only copies it."""
        if isinstance(form, Minus):
            return Minus(self._reduced(form.x, block), self._reduced(form.y, block))
        if not isinstance(form, Applied):
            return form
        inputs = tuple(self._reduced(each, block) for each in form.inputs)
        same = tuple(map(inputs.index, inputs))
        graph = self._steps[form.step].graph
        chosen = reduces_to_input(graph, self._scalars[form.step, block], same)
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
