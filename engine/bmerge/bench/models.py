"""Which of a benchmark's models a method gets as which of its inputs.

Methods name their inputs: ``base`` is the model that the others were trained from, and so is
``c`` beside two others. All other inputs are parents, in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bmerge.errors import MethodError
from bmerge.method import ContentKind, MergeMethod
from bmerge.recipe import ModelRef
from bmerge.records import dataclass

__all__ = ["BenchModels", "models_of"]

_BASE = ("base", "c")


@dataclass(frozen=True, slots=True)
class BenchModels:
    """The models of a benchmark.

    Args:
        parents: to be merged, in their order.
        base: that they were trained from, if it is known.
    """

    parents: tuple[ModelRef, ...]
    base: ModelRef | None = None

    def of(self, method: MergeMethod) -> tuple[ModelRef, ...]:
        """Return the inputs of a method, in its order.

        Raises:
            MethodError: if it needs other models than these.
        """
        waiting = list(self.parents)
        inputs: list[ModelRef] = []
        for name in method.model_names:
            if self.base is not None and name in _BASE:
                inputs.append(self.base)
            elif waiting and name != "base":
                inputs.append(waiting.pop(0))
            else:
                what = "base" if name in _BASE else name
                names = ", ".join((*method.model_names, *("…",) * method.variadic))
                raise MethodError(f"takes {names}, and there is no model for {what}")
        inputs += waiting if method.variadic else ()
        if any(method.content_of(i) is ContentKind.DIFFERENCE for i in range(len(inputs))):
            raise MethodError("takes differences of models, as recipes of several steps have them")
        return tuple(inputs)

    @property
    def all(self) -> tuple[ModelRef, ...]:
        """The parents, and the base if there is one."""
        return self.parents if self.base is None else (*self.parents, self.base)

    def label(self, model: ModelRef) -> str:
        """Return a short name of one of the models that no other has."""
        names = [_name(each) for each in self.all]
        place = self.all.index(model)
        return names[place] if names.count(names[place]) == 1 else f"{names[place]} ({place + 1})"


def _name(model: ModelRef) -> str:
    paths = (model.path, *(lora.path for lora in model.loras))
    return "+".join(Path(path).stem for path in paths)


def models_of(method: MergeMethod, models: Sequence[ModelRef]) -> BenchModels:
    """Return which of a recipe's models are parents and which is the base, as its method says.

    Args:
        method: of the recipe.
        models: of the recipe.
    """
    names = [*method.model_names, *("" for _ in models)][: len(models)]
    bases = [model for name, model in zip(names, models, strict=True) if name in _BASE]
    parents = [model for name, model in zip(names, models, strict=True) if name not in _BASE]
    return BenchModels(tuple(parents), bases[0] if bases else None)
