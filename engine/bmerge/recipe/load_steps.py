"""Reading the steps of a recipe: what they are, and that they fit together.

Names that are unknown, steps that need one another and steps that nothing needs are mistakes,
named with their line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from bmerge.errors import nearest
from bmerge.recipe.document import Node
from bmerge.recipe.order import CircleError, in_order
from bmerge.recipe.schema import ZERO, AnyStep, BlockWeights, Fallback, ModelRef, Pick, Step, Value
from bmerge.recipe.settings import read_settings
from bmerge.records import dataclass

__all__ = ["read_models", "read_steps"]

WeightsOf: TypeAlias = Callable[[Node], BlockWeights]

_SETTINGS = ("options", "seed", "clamp")
METHOD = ("method", "models", "hyperparameters", *_SETTINGS)
FORMS = ("method", "pick", "fallback")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VALUE = re.compile(rf"({_NAME.pattern})(?:\s+-\s+({_NAME.pattern}))?")


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads values and steps.

    Args:
        known: every name that there is.
        weights: reads the value of a hyperparameter.
    """

    known: frozenset[str]
    weights: WeightsOf

    def value(self, node: Node) -> Value:
        if node.value == 0 and not isinstance(node.value, bool):
            return ZERO
        found = _VALUE.fullmatch(node.text())
        if found is None:
            message = f"{node.name} must be a name or 'name - name', not {node.value!r}"
            raise node.error(message)
        value = Value(found[1], found[2])
        for name in value.names:
            if name not in self.known:
                raise node.error(f"no model or step is called {name!r}", nearest(name, self.known))
        return value

    def values(self, node: Node) -> tuple[Value, ...]:
        values = tuple(map(self.value, node.sequence()))
        if not values:
            raise node.error(f"{node.name} is empty")
        return values

    def step(self, name: str, node: Node) -> AnyStep:
        forms = [form for form in FORMS if form in node.mapping()]
        if len(forms) != 1:
            message = f"step {name!r} must have one of {', '.join(map(repr, FORMS))}"
            raise node.error(message)
        if forms == ["pick"]:
            parts = node.mapping(("pick",))["pick"].mapping()
            if not parts:
                raise node.error("pick is empty")
            return Pick(name, {part: self.value(value) for part, value in parts.items()})
        if forms == ["fallback"]:
            return Fallback(name, self.values(node.mapping(("fallback",))["fallback"]))
        return self._method(name, node.mapping(METHOD), node)

    def _method(self, name: str, fields: Mapping[str, Node], node: Node) -> Step:
        if "models" not in fields:
            raise node.error(f"step {name!r} has no 'models'")
        weights = fields.get("hyperparameters")
        given = {} if weights is None or weights.value is None else weights.mapping()
        return Step(
            name,
            fields["method"].text(),
            self.values(fields["models"]),
            {key: self.weights(value) for key, value in given.items()},
            **read_settings({key: fields[key] for key in _SETTINGS if key in fields}),
        )


def read_steps(
    fields: Mapping[str, Node], root: Node, weights: WeightsOf, *, spare: bool = False
) -> tuple[tuple[AnyStep, ...], Value]:
    """Return the steps of a recipe and what its result is.

    Args:
        fields: the recipe's keys.
        root: the recipe.
        weights: reads the value of a hyperparameter.
        spare: whether there may be models and steps that the result does not need.

    Raises:
        RecipeError: if anything is wrong with them.
    """
    models = fields["models"].mapping()
    nodes = fields["steps"].mapping() if "steps" in fields else {}
    for name, node in (*models.items(), *nodes.items()):
        if not _NAME.fullmatch(name):
            raise node.error(f"{name!r} is not a name", "letters, digits and _, no digit first")
        if name in nodes and name in models:
            raise nodes[name].error(f"{name!r} is a model and a step")
    reader = _Reader(frozenset({*models, *nodes}), weights)
    steps = tuple(reader.step(name, node) for name, node in nodes.items())
    if "result" in fields:
        result = reader.value(fields["result"])
    elif steps:
        result = Value(steps[-1].name)
    else:
        raise root.error("the recipe has neither steps nor a 'result'")
    _check_order(steps, result, {**models, **nodes}, spare=spare)
    return steps, result


def _check_order(
    steps: tuple[AnyStep, ...], result: Value, nodes: Mapping[str, Node], *, spare: bool
) -> None:
    """Refuse steps that need one another, and names that nothing needs unless some are spare."""
    needs = {step.name: [n for value in step.inputs for n in value.names] for step in steps}
    try:
        in_order((*result.names, *needs), lambda name: needs.get(name, ()))
    except CircleError as error:
        message = f"steps need one another: {error}"
        raise nodes[str(error.circle[0])].error(message) from error
    used = set(in_order(result.names, lambda name: needs.get(name, ())))
    for name, node in nodes.items():
        if name not in used and not spare:
            kind = "step" if name in needs else "model"
            raise node.error(f"{kind} {name!r} is not used by the result, {str(result)!r}")


def read_models(node: Node, model: Callable[[Node], ModelRef]) -> tuple[ModelRef, ...]:
    """Return the models of a recipe with steps, each with its name."""
    return tuple(replace(model(each), name=name) for name, each in node.mapping().items())
