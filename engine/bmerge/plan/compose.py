"""What is computed for a form in a block: one graph of all steps, or a copy of a model's tensor.

In some blocks a step changes nothing (its weight is 0, say); there its input takes its place,
so that what remains of a recipe is copied wherever that is all there is to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError
from bmerge.expr import Composition, Graph, draws, reduces_to_input
from bmerge.plan.forms import Applied, Form, Forms, Leaf, Minus, Zero, leaves, parts_first
from bmerge.plan.steps import PlannedStep
from bmerge.records import dataclass

__all__ = ["Composed", "Composer"]

_Place: TypeAlias = "tuple[str, frozenset[str]]"
"""A block, and the patterns with values of their own that a key in it matches."""
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Composed:
    """What is computed from the tensors of a form's models.

    Args:
        graph: the computation.
        scalars: the hyperparameters' values, in the order of ``graph.scalars``.
        inputs: of the form's models, those that the graph's inputs are.
        draws: whether it may draw random numbers.
    """

    graph: Graph
    scalars: tuple[float, ...]
    inputs: tuple[int, ...]
    draws: bool = False


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
        self._scalars: dict[tuple[str, _Place], tuple[float, ...]] = {}
        self._known: dict[tuple[Form, _Place], Composed | int] = {}
        self._steps_in: dict[Form, tuple[str, ...]] = {}
        self._alike: dict[tuple[Form, tuple[tuple[float, ...], ...]], Composed | int] = {}
        self._forms = Forms()
        self._graphs: dict[Form, tuple[Graph, tuple[str, ...]]] = {}

    @property
    def by_key(self) -> bool:
        """Whether a hyperparameter has values of its own for some keys."""
        return bool(self._patterns)

    def of(self, form: Form, block: str, key: str) -> Composed | int:
        """Return what a form is for a key: a computation, or one of its models as it is."""
        patterns = self._patterns
        matching = frozenset([p for p in patterns if fnmatchcase(key, p)]) if patterns else _NONE
        place = block, matching
        known = self._known.get((form, place))
        if known is None:
            known = self._known[form, place] = self._of_values(form, place)
        return known

    def check(self, keys: Iterable[str]) -> None:
        """Refuse weights for keys that there are not.

        Args:
            keys: all that there are; gone through if there are such weights.

        Raises:
            RecipeError: names the pattern.
        """
        unused = dict.fromkeys(self._patterns)
        for key in keys if unused else ():
            for pattern in [pattern for pattern in unused if fnmatchcase(key, pattern)]:
                del unused[pattern]
        for pattern in unused:
            message = f"{pattern!r} matches no key that is merged"
            raise RecipeError(message, hint="a pattern is for whole keys: '*attn1*', say")

    def _of_values(self, form: Form, place: _Place) -> Composed | int:
        """Compose once for all places in which the steps of a form have the same values."""
        if form not in self._steps_in:
            steps = (part.step for part in parts_first(form) if isinstance(part, Applied))
            self._steps_in[form] = tuple(dict.fromkeys(steps))
        values = tuple(self._values(step, place) for step in self._steps_in[form])
        if (form, values) not in self._alike:
            self._alike[form, values] = self._composed(form, place)
        return self._alike[form, values]

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
        return Composed(graph, scalars, inputs, draws(graph))

    def _values(self, step: str, place: _Place) -> tuple[float, ...]:
        """Return the values of a step's hyperparameters."""
        if (step, place) not in self._scalars:
            values = self._steps[step].scalars(*place, self._architecture)
            self._scalars[step, place] = values
        return self._scalars[step, place]

    def _reduced(self, form: Form, place: _Place) -> Form:
        """Put the input of a step in its place where the step only copies it."""
        made: dict[Form, Form] = {}
        for part in parts_first(form):
            if isinstance(part, Minus):
                made[part] = self._forms.minus(made[part.x], made[part.y])
            elif isinstance(part, Applied):
                made[part] = self._applied(part.step, [made[each] for each in part.inputs], place)
            else:
                made[part] = part
        return made[form]

    def _applied(self, step: str, inputs: Sequence[Form], place: _Place) -> Form:
        """Return a step applied, or that of its inputs which it only copies."""
        same = tuple(map(inputs.index, inputs))
        chosen = reduces_to_input(self._steps[step].graph, self._values(step, place), same)
        return self._forms.applied(step, tuple(inputs)) if chosen is None else inputs[chosen]

    def _graph(self, form: Form) -> tuple[Graph, tuple[str, ...]]:
        """Return the graph of a form, and the steps whose scalars it takes, in order."""
        models = leaves(form)
        plain = tuple(map(Leaf, models))
        if isinstance(form, Applied) and form.inputs == plain:
            return self._steps[form.step].graph, (form.step,)
        composition = Composition()
        results: dict[Form, int] = {}
        steps: list[str] = []
        for part in parts_first(form):
            if isinstance(part, Leaf):
                results[part] = composition.input(models.index(part.model))
            elif isinstance(part, Zero):
                results[part] = composition.zero()
            elif isinstance(part, Minus):
                results[part] = composition.subtract(results[part.x], results[part.y])
            else:
                inputs = [results[each] for each in part.inputs]
                graph = self._steps[part.step].graph
                steps.append(part.step)
                results[part] = composition.inline(graph, inputs, graph.scalars)
        return composition.graph(results[form], len(models)), tuple(steps)
