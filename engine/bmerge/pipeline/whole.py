"""Recipes that give one model of a merge as it is, in the layout of the merge.

That layout is the first model's: its keys in their order, its dtypes or the one that the recipe
asks for. So another model is taken by a weighted sum with a weight of 1, which copies its tensors;
those that it lacks are the first model's, as in any merge. The first is taken by itself.

Where a later model has a wider first convolution (inpainting, pix2pix), merges have its width: then
the first model is widened in the same way, with a weight of 0.
"""

from __future__ import annotations

from dataclasses import replace

from bmerge.recipe import BlockWeights, ModelRef, Recipe, Step, Value

__all__ = ["TAKES", "model_taken", "models_of", "whole_model"]

TAKES = "weighted_sum"
"""The method that takes a model over."""

_FIRST, _WIDEST, _MODEL = "first", "widest", "model"
_LAYOUT, _RESULT = "layout", "whole"


def whole_model(recipe: Recipe, index: int, widest: int = 0) -> Recipe:
    """Return the recipe of one of a recipe's models as it is.

    What concerns how models are mixed is left out: hyperparameters, options, ``exclude``, ``clamp``
    and re-basin.

    Args:
        recipe: of the merge, with one method.
        index: of the model.
        widest: index of the model whose width the merge's first convolution has.
    """
    bare = replace(
        recipe, method="", hyperparameters={}, options={}, exclude=(), clamp="none", rebasin=0
    )
    chosen = models_of(index, widest)
    if len(chosen) == 1:
        first = replace(recipe.models[0], name=_FIRST)
        return replace(bare, models=(first,), result=Value(_FIRST))
    models = [recipe.models[each] for each in chosen]
    if len(chosen) == 2:
        weight = BlockWeights(float(index > 0))
        return replace(bare, method=TAKES, models=tuple(models), hyperparameters={"alpha": weight})
    names = (_FIRST, _WIDEST, _MODEL)
    return replace(
        bare,
        models=tuple(replace(model, name=name) for model, name in zip(models, names, strict=True)),
        steps=(_taking(_LAYOUT, _FIRST, _WIDEST, 0.0), _taking(_RESULT, _LAYOUT, _MODEL, 1.0)),
        result=Value(_RESULT),
    )


def models_of(index: int, widest: int = 0) -> tuple[int, ...]:
    """Return which models :func:`whole_model` needs: the first, the widest, its own, each once."""
    return tuple(dict.fromkeys((0, widest, index)))


def model_taken(recipe: Recipe) -> ModelRef | None:
    """Return the model that a recipe gives as it is; None if it is none of :func:`whole_model`."""
    if recipe.result is None:
        weight = recipe.hyperparameters.get("alpha")
        takes = recipe.method == TAKES and weight in (BlockWeights(0.0), BlockWeights(1.0))
        return recipe.models[int(weight.default)] if takes and weight is not None else None
    if recipe.result == Value(_FIRST) and not recipe.steps:
        return recipe.models[0]
    return recipe.models[-1] if recipe.result == Value(_RESULT) else None


def _taking(name: str, one: str, other: str, weight: float) -> Step:
    return Step(name, TAKES, (Value(one), Value(other)), {"alpha": BlockWeights(weight)})
