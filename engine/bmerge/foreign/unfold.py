"""A merge of merges as one recipe of steps, for those inputs of a merged file that are gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmerge.errors import RecipeError
from bmerge.foreign.own import OwnFile, Reference
from bmerge.recipe import AnyStep, Fallback, ModelRef, Pick, Recipe, Step, Value

__all__ = ["unfolded"]

_GONE = "gone:"


def unfolded(own: OwnFile) -> Recipe:
    """Return the recipe of a merged file; what is gone of its inputs becomes steps.

    Steps are computed in float32 and not rounded in between, as the files were.

    Raises:
        RecipeError: if an input is gone and its recipe is not known, or cannot be a step.
    """
    own.check(lambda _: True)
    writer = _Unfolding(own)
    recipe, gone = writer.read(own.data)
    return writer.with_steps(recipe, gone) if gone else recipe


class _Unfolding:
    """Gives models and steps new names, each file one.

    Args:
        own: the merged file.
    """

    def __init__(self, own: OwnFile) -> None:
        self._own = own
        self._models: dict[ModelRef, str] = {}
        self._steps: list[AnyStep] = []
        self._made: dict[int, Value] = {}

    def read(self, data: Mapping[str, Any]) -> tuple[Recipe, dict[str, Reference]]:
        """Return a recipe, and what is gone of its inputs by the paths that stand for it."""
        gone: dict[str, Reference] = {}

        def place(reference: Reference) -> Path:
            found = self._own.find(reference)
            if found is None:
                found = Path(f"{_GONE}{len(gone)}")
                gone[str(found)] = reference
            beside = found.parent == self._own.path.parent.absolute()
            return Path(found.name) if beside else found

        return self._own.recipe(data, place), gone

    def with_steps(self, recipe: Recipe, gone: Mapping[str, Reference]) -> Recipe:
        """Return the whole as a recipe of steps."""
        result = self._add(recipe, gone, recipe.seed)
        models = tuple(replace(model, name=name) for model, name in self._models.items())
        return replace(
            recipe, method="", models=models, hyperparameters={}, options={}, clamp="none",
            steps=tuple(self._steps), result=result,
        )  # fmt: skip

    def _add(self, recipe: Recipe, gone: Mapping[str, Reference], seed: int) -> Value:
        """Add the steps of a recipe; return its result."""
        steps = recipe.as_steps()
        assert steps.result is not None
        values = {model.name: self._input(model, gone, seed) for model in steps.models}
        for step in steps.in_order():
            name = f"step{len(self._steps) + 1}"
            self._steps.append(self._renamed(step, name, values, recipe.seed, seed))
            values[step.name] = Value(name)
        return self._value(steps.result, values)

    def _input(self, model: ModelRef, gone: Mapping[str, Reference], seed: int) -> Value:
        if model.path not in gone:
            if any(lora.path in gone for lora in model.loras):
                raise self._error("a LoRA", "LoRAs are not steps")
            plain = replace(model, name="")
            return Value(self._models.setdefault(plain, f"model{len(self._models) + 1}"))
        reference = gone[model.path]
        if model.loras:
            raise self._error(str(reference["name"]), "a LoRA is on it")
        number: int = reference["ancestor"]
        if number not in self._made:
            data = self._own.made_of(reference)
            assert data is not None, "checked before"
            recipe, inner = self.read(data)
            for setting in ("exclude", "prune", "rebasin"):
                if getattr(recipe, setting):
                    raise self._error(str(reference["name"]), f"it was made with {setting!r}")
            self._made[number] = self._add(recipe, inner, seed)
        return self._made[number]

    def _renamed(
        self, step: AnyStep, name: str, values: Mapping[str, Value], own_seed: int, seed: int
    ) -> AnyStep:
        if isinstance(step, Pick):
            parts = {part: self._value(value, values) for part, value in step.parts.items()}
            return Pick(name, parts)
        inputs = tuple(self._value(value, values) for value in step.inputs)
        if isinstance(step, Fallback):
            return Fallback(name, inputs)
        drawn = step.seed if step.seed is not None or own_seed == seed else own_seed
        return Step(
            name, step.method, inputs, step.hyperparameters, step.options, drawn, step.clamp
        )

    def _value(self, value: Value, values: Mapping[str, Value]) -> Value:
        new = values.get(value.name, value)
        if value.minus is None:
            return new
        minus = values.get(value.minus, Value(value.minus))
        if new.minus is not None or minus.minus is not None:
            raise self._error(str(value), "it would be a difference of differences")
        return Value(new.name, minus.name)

    def _error(self, what: str, why: str) -> RecipeError:
        message = f"{what} is gone and cannot be a step: {why}"
        return RecipeError(message, path=self._own.path, hint="'bmerge merge FILE' makes it again")
