"""The numbers of a merge that a study may search: those of its method, or of each of its steps.

A step's are called ``STEP.NAME``, as in :attr:`bmerge.recipe.Recipe.weights`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from bmerge.host.registry import Registry
from bmerge.method import Hyperparameter, MergeMethod
from bmerge.plan.forms import Applied, Form, parts_first
from bmerge.plan.matched import Match
from bmerge.recipe import Recipe, Step

__all__ = ["keys_of_steps", "methods_in", "numbers_of", "spread_over", "steps_of"]

T = TypeVar("T")


def steps_of(recipe: Recipe) -> list[Step]:
    """Return the methods' steps that a recipe's result needs; one without a name is its method."""
    return [step for step in recipe.as_steps().in_order() if isinstance(step, Step)]


def methods_in(recipe: Recipe, registry: Registry) -> dict[str, MergeMethod]:
    """Return the methods that a recipe names.

    Raises:
        MethodError: if there is none of that name, or it takes another number of models.
    """
    found = {}
    for step in steps_of(recipe):
        found[step.method] = registry.method(step.method)
        found[step.method].check_models(len(step.inputs))
    return found


def numbers_of(recipe: Recipe, registry: Registry) -> dict[str, Hyperparameter]:
    """Return the numbers to which a recipe gives no value, by their names in it."""
    found = {}
    for step in steps_of(recipe):
        method, count = registry.method(step.method), len(step.inputs)
        method.check_names(step.hyperparameters, count)
        given = method.spread(step.hyperparameters, count)
        for h in method.hyperparameters_of(count):
            if h.name not in given:
                label = step.label(h.name)
                found[label] = replace(h, name=label)
    return found


def spread_over(values: Mapping[str, T], recipe: Recipe, registry: Registry) -> dict[str, T]:
    """Return values with one for each model instead of one for all of them.

    Args:
        values: name in the recipe → value; what names nothing stays.
        recipe: whose numbers they are of.
        registry: where methods are looked up.
    """
    found = dict(values)
    for step in steps_of(recipe):
        method = registry.method(step.method)
        own = {h.name: step.label(h.name) for h in method.hyperparameters if h.per_model}
        given = {name: found.pop(label) for name, label in own.items() if label in found}
        for name, value in method.spread(given, len(step.inputs)).items():
            found.setdefault(step.label(name), value)
    return found


def keys_of_steps(matches: Iterable[Match]) -> dict[str, dict[str, list[str]]]:
    """Return step → block → keys in which it takes part."""
    found: dict[str, dict[str, list[str]]] = {}
    known: dict[Form, tuple[str, ...]] = {}
    for match in matches:
        if match.form not in known:
            known[match.form] = _steps_in(match.form)
        for step in known[match.form]:
            found.setdefault(step, {}).setdefault(match.block, []).append(match.output.key)
    return found


def _steps_in(form: Form) -> tuple[str, ...]:
    names = (part.step for part in parts_first(form) if isinstance(part, Applied))
    return tuple(dict.fromkeys(names))
