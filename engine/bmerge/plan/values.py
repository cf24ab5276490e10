"""What each value of a recipe is for a key: which tensors, and which steps applied to them.

The rules are those of merging step by step with files in between: a step's result has the keys
of its first input; tensors that are not merged are the first input's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

from bmerge.architectures import Architecture
from bmerge.dtypes import is_float
from bmerge.errors import RecipeError
from bmerge.formats import Checkpoint, Tensor
from bmerge.lora.patched import is_patched
from bmerge.plan.alike import AlikeKeys, AlikeRule, FoundTensor
from bmerge.plan.contents import StepContents
from bmerge.plan.findings import Findings
from bmerge.plan.forms import Form, Forms, Zero
from bmerge.plan.parts import Parts, others_of
from bmerge.plan.positions import are_other_integers, is_merged
from bmerge.plan.shapes import common_extent
from bmerge.plan.steps import naming
from bmerge.plan.wider import Widths
from bmerge.recipe import ZERO, AnyStep, Fallback, Pick, Recipe, Step, Value
from bmerge.recipe.asking import Asking, answered

__all__ = ["Values"]

_Known: TypeAlias = "dict[str, FoundTensor | None]"
"""Steps whose tensor of a key is known."""


class Values:
    """Finds tensors of values.

    Args:
        recipe: in the form of steps.
        checkpoints: its models.
        architecture: the block map; keys are the same tensor if it has one name for them.
        contents: what the values are.
        widths: which of them have more input channels than others.
    """

    def __init__(
        self,
        recipe: Recipe,
        checkpoints: Sequence[Checkpoint],
        architecture: Architecture,
        contents: StepContents,
        widths: Widths,
    ) -> None:
        self._is_leftover = architecture.is_leftover
        self.findings = Findings(widths=widths)
        self.forms = Forms()
        self.tables = [_canonical(checkpoint.tensors, architecture) for checkpoint in checkpoints]
        pairs = zip(self.tables, checkpoints, strict=True)
        self.renamed = any(table is not checkpoint.tensors for table, checkpoint in pairs)
        self.repeated = bool(widths.along) or len({each.path for each in checkpoints}) < len(
            checkpoints
        )
        self._models = {model.name: index for index, model in enumerate(recipe.models)}
        self._files = [checkpoint.path.name for checkpoint in checkpoints]
        self._steps = {step.name: step for step in recipe.steps}
        self._contents = contents
        self._parts: dict[str, Parts] = {}
        equal: dict[tuple[str, ...], Parts] = {}
        for step in recipe.in_order():
            if isinstance(step, Pick):
                names = tuple(step.parts)
                with naming(step.name):
                    if names not in equal:
                        equal[names] = Parts(names, architecture)
                self._parts[step.name] = equal[names]
        self._others: dict[str, Collection[str]] = {}
        self._alike = AlikeKeys(self.tables, equal.values())
        self._keys: dict[str, Collection[str]] = {}
        self._other: dict[tuple[Tensor, Tensor], bool] = {}

    @property
    def picks(self) -> bool:
        """Whether the recipe says itself which parts of models it wants."""
        return bool(self._parts)

    def keys(self, value: Value) -> Collection[str]:
        """Return the names of a value's keys, in order."""
        return answered(self._keys_of(value))

    def origins(self, value: Value) -> Callable[[str], AlikeRule]:
        """Return what tells of a key which model's tensor a value's comes from first."""
        return self._alike.rules(lambda key: answered(self._origin(value.name, key, {})))

    def tensors(self, value: Value) -> Callable[[str], AlikeRule]:
        """Return what tells of a key what gives a value's tensor, if it has one."""
        return self._alike.rules(lambda key: answered(self._find(value, key, {})))

    def source_of(self, rule: AlikeRule, key: str) -> str:
        """Return what to call the model in messages whose tensor a rule gives for a key."""
        changed = is_patched(self.tables[rule.info][key])
        return self._files[rule.info] + (" with its LoRAs" if changed else "")

    def _keys_of(self, value: Value) -> Asking[Collection[str]]:
        name = value.name
        if name not in self._keys:
            if name in self._models:
                self._keys[name] = self.tables[self._models[name]].keys()
            else:
                self._keys[name] = yield self._keys_of_step(self._steps[name])
        if value.minus is None:
            return self._keys[name]
        others = set((yield self._keys_of(Value(value.minus))))
        return [key for key in self._keys[name] if key in others]

    def _keys_of_step(self, step: AnyStep) -> Asking[Collection[str]]:
        if isinstance(step, Step):
            lead: Collection[str] = yield self._keys_of(_lead(step))
            return lead
        keys: dict[str, None] = {}
        if isinstance(step, Fallback):
            for value in step.inputs:
                keys.update(dict.fromkeys((yield self._keys_of(value))))
            return keys.keys()
        held: dict[str, Collection[str]] = {}
        for part, value in step.parts.items():
            held[part] = yield self._keys_of(value)
        self._others[step.name] = others_of(held)
        for part, value in step.parts.items():
            chosen = [key for key in held[part] if self._part(step, key) == part]
            if not chosen:
                message = f"step {step.name!r}: {self._label(value)} has no tensors of {part!r}"
                raise RecipeError(message, hint="'bmerge inspect FILE' shows what a file holds")
            keys.update(dict.fromkeys(chosen))
        yield self._note_lacking(step, held.get("*", ()), keys)
        return keys.keys()

    def _note_lacking(
        self, step: Pick, rest: Collection[str], keys: Collection[str]
    ) -> Asking[None]:
        """Note the weights of what a part is put into that the part does not have."""
        for key in rest:
            if key not in keys:
                found: FoundTensor | None = yield self._origin(step.parts["*"].name, key, {})
                if found is not None and self._is_weight(found.info):
                    part = str(self._part(step, key))
                    source, other = self._label(step.parts[part]), self._label(step.parts["*"])
                    names = self.findings.lacking.setdefault((step.name, source, part, other), [])
                    names.append(found.info.key)

    def _origin(self, name: str, key: str, known: _Known) -> Asking[FoundTensor | None]:
        if name in self._models:
            return self._alike.leaf(self._models[name], key)
        if name not in known:
            known[name] = None
            for value in self._sources(self._steps[name], key):
                known[name] = yield self._origin(value.name, key, known)
                if known[name] is not None:
                    break
        return known[name]

    def _sources(self, step: AnyStep, key: str) -> Sequence[Value]:
        """Return what a step's tensor may come from, in the order in which it is looked for."""
        if isinstance(step, Step):
            return (_lead(step),)
        if isinstance(step, Fallback):
            return step.inputs
        part = self._part(step, key)
        return () if part is None else (step.parts[part],)

    def _part(self, step: Pick, key: str) -> str | None:
        """Return the part that a key belongs to."""
        if step.name not in self._others:
            self.keys(Value(step.name))  # they say which text encoders its source has
        return self._parts[step.name].of(key, self._others[step.name])

    def _find(self, value: Value, key: str, known: _Known) -> Asking[FoundTensor | None]:
        if value.minus is not None:
            x = yield self._find(Value(value.name), key, known)
            return self._difference(x, (yield self._find(Value(value.minus), key, known)))
        if value.name in self._models:
            return self._alike.leaf(self._models[value.name], key)
        if value.name not in known:
            known[value.name] = yield self._of_step(self._steps[value.name], key, known)
        return known[value.name]

    def _of_step(self, step: AnyStep, key: str, known: _Known) -> Asking[FoundTensor | None]:
        if isinstance(step, Step):
            merged: FoundTensor | None = yield self._merged(step, key, known)
            return merged
        for value in self._sources(step, key):
            found: FoundTensor | None = yield self._find(value, key, known)
            if found is not None:
                return found
        return None

    def _merged(self, step: Step, key: str, known: _Known) -> Asking[FoundTensor | None]:
        lead = _lead(step)
        first = yield self._find(lead, key, known)
        if first is None or not is_merged(first.info):
            if first is not None:
                yield self._note_integers(first, step, key, known)
            return None if self._becomes_difference(step, lead) else first
        found: list[FoundTensor] = []
        forms: list[Form] = []
        for value in step.inputs:
            if value.name == ZERO.name:
                forms.append(Zero())
                continue
            each = first if value is lead else (yield self._find(value, key, known))
            if each is None or not is_float(each.info.dtype):
                self._note(each, value, lead, (first, key))
                self.findings.unmerged.add(step.name)
                return None if self._becomes_difference(step, lead) else first
            found.append(each)
            forms.append(each.form)
        extent = common_extent(first.info.key, found)
        self.findings.merged.add(step.name)
        return FoundTensor(self.forms.applied(step.name, tuple(forms)), first.info, extent)

    def _difference(self, x: FoundTensor | None, y: FoundTensor | None) -> FoundTensor | None:
        if x is None or y is None or not (is_merged(x.info) and is_merged(y.info)):
            return None
        form = self.forms.minus(x.form, y.form)
        return FoundTensor(form, x.info, common_extent(x.info.key, [x, y]))

    def _becomes_difference(self, step: Step, lead: Value) -> bool:
        """Tell whether a step makes differences of models: what it lacks is not a difference."""
        content = self._contents[Value(step.name)]
        return content == "difference" != self._contents[lead]

    def _note(
        self, found: FoundTensor | None, value: Value, lead: Value, taken: tuple[FoundTensor, str]
    ) -> None:
        source = self._label(lead)
        if found is not None:
            keys = self.findings.unlike.setdefault((source, found.info.dtype), [])
        else:
            keys = self.findings.missing.setdefault((self._label(value), source), [])
        self._alike.note(keys, *taken)

    def _note_integers(
        self, first: FoundTensor, step: Step, key: str, known: _Known
    ) -> Asking[None]:
        """Note a tensor that is not merged, if it is another one in another input."""
        lead = _lead(step)
        for value in step.inputs:
            if value not in {lead, ZERO}:
                each: FoundTensor | None = yield self._find(value, key, known)
                if each is not None and self._are_other(first.info, each.info):
                    source = self._label(lead), first.info.dtype
                    self._alike.note(self.findings.kept.setdefault(source, []), first, key)
                    return

    def _is_weight(self, info: Tensor) -> bool:
        """Tell whether a model needs a tensor."""
        return is_merged(info) and not self._is_leftover(info.key)

    def _are_other(self, x: Tensor, y: Tensor) -> bool:
        """Tell whether two tensors that are not merged differ; each pair is read once."""
        if (x, y) not in self._other:
            self._other[x, y] = are_other_integers(x, y)
        return self._other[x, y]

    def _label(self, value: Value) -> str:
        """Return what to call a value in messages."""
        index = self._models.get(value.name)
        if value.minus is None and index is not None:
            return self._files[index]
        return f"step {value.name!r}" if value.minus is None else f"'{value}'"


def _canonical(tensors: Mapping[str, Tensor], architecture: Architecture) -> Mapping[str, Tensor]:
    """Return a table of contents by the names that keys have in every model."""
    old = tuple(architecture.aliases)
    if not old or not any(key.startswith(old) for key in tensors):
        return tensors
    return {architecture.canonical(key): info for key, info in tensors.items()}


def _lead(step: Step) -> Value:
    """Return the input whose keys and dtypes a step's result has: the first that has any."""
    return next(value for value in step.inputs if value.name != ZERO.name)
