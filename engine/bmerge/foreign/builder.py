"""Puts a recipe of steps together while another tool's recipe is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from bmerge.recipe import (
    AnyStep,
    BlockWeights,
    Fallback,
    ModelRef,
    Pick,
    Recipe,
    Step,
    Value,
)

__all__ = ["RecipeBuilder", "portable"]


def portable(path: str) -> str:
    """Return a path of any system's recipe with the separator that all systems know."""
    return path.replace("\\", "/")


class RecipeBuilder:
    """Collects models and steps; each gets a name that says what it is."""

    def __init__(self) -> None:
        self._models: dict[ModelRef, str] = {}
        self._steps: list[AnyStep] = []
        self._names: set[str] = set()
        self._numbers: dict[str, int] = {}

    def model(self, model: ModelRef) -> Value:
        """Return a model; the same one again for the same file."""
        model = replace(model, path=portable(model.path))
        if model not in self._models:
            self._models[model] = self._name(PurePath(model.path).stem)
        return Value(self._models[model])

    def step(
        self,
        method: str,
        inputs: tuple[Value, ...],
        hyperparameters: Mapping[str, BlockWeights],
        options: Mapping[str, str | bool],
    ) -> Value:
        """Return the result of a method."""
        return self._add(Step(self._name(method), method, inputs, hyperparameters, options))

    def fallback(self, inputs: tuple[Value, ...]) -> Value:
        """Return values that are looked through in order."""
        return self._add(Fallback(self._name("whole"), inputs))

    def pick(self, parts: Mapping[str, Value]) -> Value:
        """Return parts of values."""
        return self._add(Pick(self._name("parts"), parts))

    def recipe(self, result: Value, **fields: Any) -> Recipe:
        """Return the recipe, in the simple form if it is one method of all its models.

        Args:
            result: what is written.
            fields: of the recipe.
        """
        models = tuple(replace(model, name=name) for model, name in self._models.items())
        plain = tuple(Value(model.name) for model in models)
        if len(self._steps) == 1:
            (step,) = self._steps
            if isinstance(step, Step) and step.inputs == plain and result.name == step.name:
                return Recipe(
                    step.method,
                    tuple(self._models),
                    step.hyperparameters,
                    options=step.options,
                    **fields,
                )
        return Recipe("", models, steps=tuple(self._steps), result=result, **fields)

    def _add(self, step: AnyStep) -> Value:
        self._steps.append(step)
        return Value(step.name)

    def _name(self, text: str) -> str:
        """Return a name made of ``text`` that is not taken."""
        stem = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "x"
        stem = f"_{stem}" if stem[0].isdigit() else stem
        name, number = stem, self._numbers.get(stem, 1)
        while name in self._names:
            number += 1
            name = f"{stem}_{number}"
        self._numbers[stem] = number
        self._names.add(name)
        return name
