"""Parts of models from other files, put into what a recipe makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bmerge.recipe.schema import AnyStep, ModelRef, Pick, Recipe, Step, Value

__all__ = ["with_parts"]

_MERGED = "merged"


def with_parts(recipe: Recipe, parts: Sequence[tuple[str, str]]) -> Recipe:
    """Return the recipe whose result has parts from other files.

    Args:
        recipe: of one method, or of steps.
        parts: component → the file that it is taken from, as the user wrote it; each goes before
            those that stand before it. Without any the recipe stays as it is.
    """
    if not parts:
        return recipe
    whole = recipe.as_steps()
    models, last = list(whole.models), whole.result
    steps: list[AnyStep] = list(whole.steps)
    if recipe.result is None:
        (step,) = whole.steps
        assert isinstance(step, Step)
        names = [f"model_{number}" for number in range(1, len(models) + 1)]
        models = [replace(model, name=name) for model, name in zip(models, names, strict=True)]
        steps, last = [replace(step, name=_MERGED, inputs=tuple(map(Value, names)))], Value(_MERGED)
    assert last is not None
    for number, (component, path) in enumerate(parts, start=1):
        name = f"{component}_{number}"
        models.append(ModelRef(path, name=name))
        steps.append(Pick(f"with_{name}", {"*": last, component: Value(name)}))
        last = Value(f"with_{name}")
    return replace(whole, models=tuple(models), steps=tuple(steps), result=last)
