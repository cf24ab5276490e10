"""Models that have the same tensors and do not belong together: what goes wrong in a merge of them.

What a model predicts is told by markers among its keys and by its metadata; whether it was
distilled, or which half of a pair it is, by its name alone, which is worth a warning, not an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from bmerge.architectures import Architecture
from bmerge.architectures.patterns import Contents
from bmerge.formats import Checkpoint
from bmerge.method import MergeMethod
from bmerge.recipe import Pick, Recipe, Step
from bmerge.records import dataclass

__all__ = ["kind_warnings"]

_PREDICTING = ("sd1", "sdxl", "kolors")
"""Starts of the ids of architectures whose models predict noise unless they say otherwise."""
_DISTILLED = (
    r"(?<![a-z])(?i:turbo|lightning|hyper(?=[-_ ]?(?:sd|flux))|lcm|dmd2?|schnell|distill(?:ed)?"
    r"|flash|\d+[-_]?steps?)(?![a-z])"
)
"""Words of names; a capital letter begins another word, as in ``dreamTurboXL``."""
_HIGH, _LOW = r"high[-_ ]?noise", r"low[-_ ]?noise"
_REST = "*"
"""What a step that picks calls all that it does not name."""
_BASE = 2
"""Index of the model that a method of three takes its difference from."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """What models of one merge should have in common.

    Args:
        kind_of: returns what a model is; None if that does not matter or is not known.
        consequence: what goes wrong otherwise.
    """

    kind_of: Callable[[Checkpoint, Architecture], str | None]
    consequence: str


def kind_warnings(
    recipe: Recipe,
    methods: Mapping[str, MergeMethod],
    checkpoints: Sequence[Checkpoint],
    architecture: Architecture,
) -> tuple[str, ...]:
    """Return a line for each way in which the models of a step do not belong together.

    Args:
        recipe: in the form of steps.
        methods: step → its method.
        checkpoints: its models.
        architecture: of these.
    """
    models = {model.name: each for model, each in zip(recipe.models, checkpoints, strict=True)}
    found: dict[str, None] = {}
    for step in recipe.in_order():
        inputs = [value.name for value in step.inputs if value.minus is None]
        known = [models[name] for name in inputs if name in models]
        if isinstance(step, Step):
            subtracts = not methods[step.name].variadic and len(known) == _BASE + 1
            found.update(dict.fromkeys(_unlike(known, architecture, subtracts=subtracts)))
        first = step.parts.get(_REST) if isinstance(step, Pick) else next(iter(step.inputs), None)
        if first is not None and first.minus is None and first.name in models:
            models[step.name] = models[first.name]  # what comes of it is of the kind of this one
    return tuple(found)


def _unlike(
    models: Sequence[Checkpoint], architecture: Architecture, *, subtracts: bool
) -> Iterator[str]:
    for rule in _RULES:
        kinds = [rule.kind_of(model, architecture) for model in models]
        told = dict.fromkeys(kind for kind in kinds if kind is not None)
        if len(told) < 2 or None in kinds:
            continue
        if subtracts and kinds[1] == kinds[_BASE]:
            continue  # a difference within one kind can be added to another
        first, second = (models[kinds.index(kind)].path.name for kind in list(told)[:2])
        one, other = list(told)[:2]
        yield f"{first} {one}, {second} {other}: {rule.consequence}"


def _predicted(model: Checkpoint, architecture: Architecture) -> str | None:
    """Return what a diffusion model of the classic kind predicts."""
    if not architecture.id.startswith(_PREDICTING):
        return None
    spec = architecture.modelspec_of(Contents(model.tensors))
    told = model.metadata.get("modelspec.prediction_type", "")
    told = told or model.metadata.get("modelspec.predict_key", "")
    if spec.get("modelspec.prediction_type") == "v" or told.lower().startswith("v"):
        return "predicts v"
    return "does not, as far as it says"


def _distilled(model: Checkpoint, _: Architecture) -> str | None:
    found = re.search(_DISTILLED, model.path.name)
    return "is not, by its name" if found is None else f"is distilled ({found[0].lower()})"


def _half(model: Checkpoint, _: Architecture) -> str | None:
    name = model.path.name.lower()
    if re.search(_HIGH, name):
        return "is for high noise"
    return "is for low noise" if re.search(_LOW, name) else None


_RULES = (
    _Rule(
        _predicted,
        "a mean of the two predicts neither, its pictures are washed out or noise; merge models of"
        " one kind, or add the difference of two of one kind to the other",
    ),
    _Rule(
        _distilled,
        "a mean of the two is right for the steps and guidance of neither, pictures turn out dull"
        " or burnt; add the difference of two models of one kind to the other instead",
    ),
    _Rule(
        _half,
        "they share the work by noise, a mean of the two does neither part well; merge high noise"
        " with high noise and low with low",
    ),
)
