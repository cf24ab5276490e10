"""The tensors of an output, and what each is made of: columns of numbers, from which they are made.

What is kept of a tensor is which rule gives it, its block and its place: some bytes, where an
object for it and all that it consists of would be a kilobyte.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar

from bmerge.architectures import Architecture
from bmerge.dtypes import is_float, nbytes_of
from bmerge.formats import Tensor
from bmerge.lora.patched import is_patched, unpatched
from bmerge.plan.alike import AlikeRule
from bmerge.plan.dtypes import Dtypes
from bmerge.plan.forms import Form, Leaf, leaves
from bmerge.plan.jobs import Alike, OutputTensor
from bmerge.plan.made import Made
from bmerge.plan.positions import repaired_ids
from bmerge.plan.values import Values
from bmerge.records import dataclass

__all__ = ["Match", "Matched"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Match:
    """One tensor of the output, and what it is made of.

    Args:
        output: its name, dtype, shape and place.
        block: that its key is in.
        form: what it is made of; a model alone is kept as it is.
        inputs: the tensor in each of the models that the form needs, in their order.
        channels: for a tensor of which only some channels are merged, how many.
        widest: what its other channels come from.
        fill: its bytes, if they are known beforehand.
        base: the model's tensor that merging changes, if all its channels are merged.
    """

    output: OutputTensor
    block: str
    form: Form
    inputs: tuple[Tensor, ...]
    channels: int | None = None
    widest: Tensor | None = None
    fill: bytes | None = None
    base: Tensor | None = None

    @property
    def merged(self) -> bool:
        """Whether it is more than one model's tensor."""
        return not isinstance(self.form, Leaf)


class Matched:
    """The tensors of an output, in their order.

    Args:
        keys: what they are called in the values, if none of them is left out.
        values: whose they are.
        architecture: the block map.
    """

    def __init__(self, keys: Collection[str], values: Values, architecture: Architecture) -> None:
        self._keys = keys
        self._values = values
        self._architecture = architecture
        self._nbytes = 0
        self._kinds, self._shapes = _Column[_Kind](), _Column[tuple[int, ...]]()
        self._offsets = array("Q")
        self._groups: list[Alike] = []
        self._left_out: set[str] = set()
        self._fills: dict[int, bytes] = {}
        self._cut: list[int] = []
        self.merged = False
        """Whether any is more than one model's tensor."""

    def add(self, rule: AlikeRule, key: str, dtypes: Dtypes | None) -> None:
        """Add the next of the keys.

        Args:
            rule: what gives its tensor; if it gives none, the key is left out.
            key: the key.
            dtypes: what it becomes if it is of floats; None: what it is.
        """
        if rule.form is None:
            self._left_out.add(key)
            return
        info, widest = rule.tensors(self._values.tables, key)
        index, tag, shape = len(self._offsets), info.dtype, widest.shape
        if dtypes is not None and is_float(tag):
            tag = dtypes.of(info.key) or tag
        fill = repaired_ids(info)
        if fill is not None:
            self._fills[index], tag = fill, "I64"
        elif rule.channels is not None:
            self._cut.append(index)
        several = fill is None and rule.plain and rule.channels is None
        single = None if several and not self._values.repeated else index
        kind = _Kind(rule, self._architecture.block_of(info.key), tag, single)
        place = self._kinds.append(kind)
        self._shapes.append(shape)
        self._offsets.append(self._nbytes)
        numel = math.prod(shape)
        self._nbytes += nbytes_of(tag, numel)
        if place == len(self._groups):
            self._groups.append(Alike(index))
        self._groups[place].add(numel)
        self.merged = self.merged or not isinstance(rule.form, Leaf)

    @property
    def names(self) -> Sequence[str]:
        """What they are called in the values."""
        keys = self._keys
        if self._left_out:
            keys = [key for key in keys if key not in self._left_out]
        return keys if isinstance(keys, Sequence) else tuple(keys)

    @property
    def matches(self) -> Sequence[Match]:
        """The tensors with what they are made of."""
        names = self.names
        return Made(len(names), lambda index: self._match(index, names[index]))

    @cached_property
    def outputs(self) -> Sequence[OutputTensor]:
        """What they give, when all are added."""
        names = self.names
        return Made(len(names), lambda index: self._output(index, names[index]))

    @property
    def groups(self) -> Sequence[Alike]:
        """Those that are alike, together."""
        return tuple(self._groups)

    @property
    def special(self) -> Iterator[Match]:
        """Those that are repaired, and then those of which only some channels are merged."""
        names = self.names
        return (self._match(index, names[index]) for index in (*self._fills, *self._cut))

    def _match(self, index: int, key: str) -> Match:
        rule, block, *_ = self._kinds[index]
        output = self.outputs[index]
        assert rule.form is not None
        if index in self._fills:
            return Match(output, block, rule.form, (), fill=self._fills[index])
        info, widest = rule.tensors(self._values.tables, key)
        form, inputs = _distinct(rule.form, key, self._values)
        stored = unpatched(info)
        whole = rule.channels is None and stored.shape == output.shape
        base = stored if whole and not is_patched(stored) else None
        return Match(output, block, form, inputs, rule.channels, widest, base=base)

    def _output(self, index: int, key: str) -> OutputTensor:
        kind, values = self._kinds[index], self._values
        name = values.tables[kind.rule.info][key].key if values.renamed else key
        return OutputTensor(name, kind.dtype, self._shapes[index], self._offsets[index])


class _Kind(NamedTuple):
    """What tensors that are alike have in common.

    Args:
        rule: what gives them.
        block: that their keys are in.
        dtype: of the output.
        single: number of the one tensor of this kind, where jobs may differ in more than that.
    """

    rule: AlikeRule
    block: str
    dtype: str
    single: int | None


class _Column(Generic[T]):
    """A list of which few items differ."""

    def __init__(self) -> None:
        self._places = array("I")
        self._items: list[T] = []
        self._known: dict[T, int] = {}

    def append(self, item: T) -> int:
        """Add an item, and return its place among those that differ."""
        place = self._known.get(item)
        if place is None:
            place = self._known[item] = len(self._items)
            self._items.append(item)
        self._places.append(place)
        return place

    def __getitem__(self, index: int) -> T:
        return self._items[self._places[index]]


def _distinct(form: Form, key: str, values: Values) -> tuple[Form, tuple[Tensor, ...]]:
    """Return a form that names each tensor by one model only, and its tensors.

    The same file may be several models, with different LoRAs on it that change other tensors.
    """
    models = leaves(form)
    inputs = tuple([values.tables[model][key] for model in models])
    if not values.repeated:
        return form, inputs
    first = {model: models[inputs.index(info)] for model, info in zip(models, inputs, strict=True)}
    form = values.forms.renamed(form, first)
    return form, tuple(values.tables[model][key] for model in leaves(form))
