"""What each value of a recipe is for a key: which tensors, and which steps applied to them.

The rules are those of merging step by step with files in between: a step's result has the keys
of its first input; tensors that are not merged are the first input's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bmerge.architectures import Architecture
from bmerge.dtypes import is_float
from bmerge.errors import RecipeError
from bmerge.formats import Checkpoint, TensorInfo
from bmerge.plan.contents import Contents
from bmerge.plan.forms import Applied, Form, Leaf, Minus, Zero
from bmerge.plan.parts import Parts
from bmerge.plan.positions import are_other_integers, is_merged
from bmerge.plan.shapes import Extent, common_extent
from bmerge.plan.steps import naming
from bmerge.recipe import ZERO, Fallback, Pick, Recipe, Step, Value

__all__ = ["Findings", "Found", "Values"]


@dataclass(frozen=True, slots=True)
class Found:
    """A value's tensor of one key.

    Args:
        form: what it is made of.
        info: the model's tensor that gives it its name and dtype.
        extent: its shape, and which channels are merged.
    """

    form: Form
    info: TensorInfo
    extent: Extent


@dataclass(slots=True)
class Findings:
    """What is to be told when all tensors have been looked at.

    Args:
        missing: (what lacks keys, what they are taken from) → the keys.
        unlike: what floats are taken from that are integers elsewhere → their keys.
        merged: names of the steps that merge some key.
        kept: what integers are taken from that are others elsewhere → their keys.
        excluded: keys that the recipe excludes.
        pruned: keys that only training needs; None if they are not asked for.
    """

    missing: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    unlike: dict[str, list[str]] = field(default_factory=dict)
    merged: set[str] = field(default_factory=set)
    kept: dict[str, list[str]] = field(default_factory=dict)
    excluded: frozenset[str] = frozenset()
    pruned: list[str] | None = None


class Values:
    """Finds tensors of values.

    Args:
        recipe: in the form of steps.
        checkpoints: its models.
        architecture: the block map; keys are the same tensor if it has one name for them.
        contents: what the values are.
    """

    def __init__(
        self,
        recipe: Recipe,
        checkpoints: Sequence[Checkpoint],
        architecture: Architecture,
        contents: Contents,
    ) -> None:
        canonical = architecture.canonical
        self.findings = Findings()
        self.tables = [
            {canonical(key): info for key, info in checkpoint.tensors.items()}
            for checkpoint in checkpoints
        ]
        self.repeated = len({each.path for each in checkpoints}) < len(checkpoints)
        self._leaves = [
            {key: Found(leaf, info, Extent(info)) for key, info in table.items()}
            for leaf, table in zip(map(Leaf, range(len(self.tables))), self.tables, strict=True)
        ]
        self._models = {model.name: index for index, model in enumerate(recipe.models)}
        self._files = [checkpoint.path.name for checkpoint in checkpoints]
        self._steps = {step.name: step for step in recipe.steps}
        self._contents = contents
        self._parts: dict[str, Parts] = {}
        for step in recipe.in_order():
            if isinstance(step, Pick):
                with naming(step.name):
                    self._parts[step.name] = Parts(step.parts, architecture)
        self._known: dict[tuple[str, str], Found | None] = {}

    @property
    def picks(self) -> bool:
        """Whether the recipe says itself which parts of models it wants."""
        return bool(self._parts)

    def keys(self, value: Value) -> list[str]:
        """Return the names of a value's keys, in order."""
        if value.minus is not None:
            others = set(self.keys(Value(value.minus)))
            return [key for key in self.keys(Value(value.name)) if key in others]
        if value.name in self._models:
            return list(self.tables[self._models[value.name]])
        step = self._steps[value.name]
        if isinstance(step, Step):
            return self.keys(_lead(step))
        if isinstance(step, Fallback):
            return list(dict.fromkeys(key for each in step.inputs for key in self.keys(each)))
        return self._picked(step)

    def origin(self, value: Value, key: str) -> Found | None:
        """Return the model's tensor that a value's tensor comes from first."""
        index = self._models.get(value.name)
        if index is not None:
            return self._leaves[index].get(key)
        step = self._steps[value.name]
        if isinstance(step, Step):
            return self.origin(_lead(step), key)
        if isinstance(step, Fallback):
            found = (self.origin(each, key) for each in step.inputs)
            return next((each for each in found if each is not None), None)
        part = self._parts[step.name].of(key)
        return None if part is None else self.origin(step.parts[part], key)

    def find(self, value: Value, key: str) -> Found | None:
        """Return a value's tensor of a key; None if it has none."""
        if value.minus is not None:
            return self._difference(value, key)
        index = self._models.get(value.name)
        if index is not None:
            return self._leaves[index].get(key)
        step = self._steps[value.name]
        known = (value.name, key)
        if known not in self._known:
            self._known[known] = self._of_step(step, key)
        return self._known[known]

    def _of_step(self, step: Step | Pick | Fallback, key: str) -> Found | None:
        if isinstance(step, Step):
            return self._merged(step, key)
        if isinstance(step, Fallback):
            found = (self.find(value, key) for value in step.inputs)
            return next((each for each in found if each is not None), None)
        part = self._parts[step.name].of(key)
        return None if part is None else self.find(step.parts[part], key)

    def _merged(self, step: Step, key: str) -> Found | None:
        lead = _lead(step)
        first = self.find(lead, key)
        if first is None or not is_merged(first.info):
            if first is not None:
                self._note_integers(first, step, lead, key)
            return None if self._becomes_difference(step, lead) else first
        found: list[Found] = []
        forms: list[Form] = []
        for value in step.inputs:
            if value.name == ZERO.name:
                forms.append(Zero())
                continue
            each = self.find(value, key)
            if each is None or not is_float(each.info.dtype):
                self._note(each, value, lead, first.info.key)
                return None if self._becomes_difference(step, lead) else first
            found.append(each)
            forms.append(each.form)
        extent = common_extent(first.info.key, found)
        self.findings.merged.add(step.name)
        return Found(Applied(step.name, tuple(forms)), first.info, extent)

    def _difference(self, value: Value, key: str) -> Found | None:
        found = [self.find(Value(name), key) for name in value.names]
        x, y = found
        if x is None or y is None or not (is_merged(x.info) and is_merged(y.info)):
            return None
        return Found(Minus(x.form, y.form), x.info, common_extent(x.info.key, [x, y]))

    def _becomes_difference(self, step: Step, lead: Value) -> bool:
        """Tell whether a step makes differences of models: what it lacks is no difference."""
        content = self._contents[Value(step.name)]
        return content == "difference" != self._contents[lead]

    def _note(self, found: Found | None, value: Value, lead: Value, key: str) -> None:
        source = self._label(lead)
        if found is not None:
            self.findings.unlike.setdefault(source, []).append(key)
            return
        self.findings.missing.setdefault((self._label(value), source), []).append(key)

    def _note_integers(self, first: Found, step: Step, lead: Value, key: str) -> None:
        """Note a tensor that is not merged, if it is another one in another input."""
        values = [value for value in step.inputs if value not in {lead, ZERO}]
        others = [each for value in values if (each := self.find(value, key)) is not None]
        if any(are_other_integers(first.info, each.info) for each in others):
            self.findings.kept.setdefault(self._label(lead), []).append(first.info.key)

    def _label(self, value: Value) -> str:
        """Return what to call a value in messages."""
        index = self._models.get(value.name)
        if value.minus is None and index is not None:
            return self._files[index]
        return f"step {value.name!r}" if value.minus is None else f"'{value}'"

    def _picked(self, pick: Pick) -> list[str]:
        select = self._parts[pick.name].of
        keys: dict[str, None] = {}
        for part, value in pick.parts.items():
            chosen = [key for key in self.keys(value) if select(key) == part]
            if not chosen:
                message = f"step {pick.name!r}: {self._label(value)} has nothing of {part!r}"
                raise RecipeError(message, hint="'bmerge inspect FILE' shows what a file holds")
            keys.update(dict.fromkeys(chosen))
        return list(keys)


def _lead(step: Step) -> Value:
    """Return the input whose keys and dtypes a step's result has: the first that has any."""
    return next(value for value in step.inputs if value.name != ZERO.name)
