"""Keys that are alike in all that the steps of a recipe go by: what holds for one holds for all.

Most keys of a merge are floats of one shape in the same models. Steps are followed once for all of
these, so thousands of steps cost little with thousands of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence

from bmerge.formats import Tensor, TensorInfo
from bmerge.plan.forms import Form, Leaf
from bmerge.plan.parts import Parts
from bmerge.plan.positions import is_merged
from bmerge.plan.shapes import MergedShape
from bmerge.records import dataclass

__all__ = ["AlikeKeys", "AlikeRule", "FoundTensor"]


@dataclass(frozen=True, slots=True)
class FoundTensor:
    """A value's tensor of one key.

    Args:
        form: what it is made of.
        info: the model's tensor that gives it its name and dtype.
        extent: its shape, and which channels of it are merged.
    """

    form: Form
    info: Tensor
    extent: MergedShape


@dataclass(frozen=True, slots=True, eq=False)
class AlikeRule:
    """What is found for all keys that are alike.

    Args:
        form: what their tensors are made of; None if there are none.
        info: the model of ``FoundTensor.info``.
        widest: the model of ``FoundTensor.extent.widest``.
        channels: those that are merged, if not all.
        plain: whether all models' tensors of these keys lie plainly in files, in the same dtypes.
        notes: lists that each key is to be put on, by the name that a model has for it.
    """

    form: Form | None
    info: int
    widest: int
    channels: int | None
    plain: bool
    notes: tuple[tuple[list[str], int], ...]

    def found(self, tables: Sequence[Mapping[str, Tensor]], key: str) -> FoundTensor | None:
        """Return what is found for a key; None if there is nothing.

        Args:
            tables: for each model, key → its tensor.
            key: one that the rule is for.
        """
        if self.form is None:
            return None
        info, widest = self.tensors(tables, key)
        return FoundTensor(self.form, info, MergedShape(widest, self.channels))

    def tensors(self, tables: Sequence[Mapping[str, Tensor]], key: str) -> tuple[Tensor, Tensor]:
        """Return what gives a key its name and dtype, and what has its shape; see :meth:`found`."""
        info = tables[self.info][key]
        return info, info if self.widest == self.info else tables[self.widest][key]


class AlikeKeys:
    """Looks for tensors once for all keys that are alike.

    Args:
        tables: for each model, key → its tensor.
        parts: into which the picks of a recipe part keys.
    """

    def __init__(self, tables: Sequence[Mapping[str, Tensor]], parts: Collection[Parts]) -> None:
        self._tables = tables
        self._parts = parts
        self._notes: dict[int, tuple[list[str], int]] = {}

    def leaf(self, model: int, key: str) -> FoundTensor | None:
        """Return a model's tensor; None if it has none of that key."""
        info = self._tables[model].get(key)
        return None if info is None else FoundTensor(Leaf(model), info, MergedShape(info))

    def rules(self, look: Callable[[str], FoundTensor | None]) -> Callable[[str], AlikeRule]:
        """Return what tells of a key what gives its tensor, and notes what there is to say of it.

        Args:
            look: looks for a key's tensor; called for the first of the keys that are alike.
        """
        known: dict[Hashable, AlikeRule] = {}
        tables = self._tables

        def rule_of(key: str) -> AlikeRule:
            kind = self._kind(key)
            rule = known.get(kind)
            if rule is None:
                self._notes = {}
                rule = known[kind] = self._rule(look(key), key, plain=kind[0])
            for keys, model in rule.notes:
                keys.append(tables[model][key].key)
            return rule

        return rule_of

    def note(self, keys: list[str], found: FoundTensor, key: str) -> None:
        """Put the key that is being looked for on a list, and those that are like it, once each.

        Args:
            keys: the list.
            found: whose name is put there.
            key: the key.
        """
        self._notes[id(keys)] = keys, self._model(found.info, key)

    def _rule(self, found: FoundTensor | None, key: str, *, plain: bool) -> AlikeRule:
        notes = tuple(self._notes.values())
        if found is None:
            return AlikeRule(None, 0, 0, None, plain, notes)
        info, widest = self._model(found.info, key), self._model(found.extent.widest, key)
        return AlikeRule(found.form, info, widest, found.extent.channels, plain, notes)

    def _model(self, info: Tensor, key: str) -> int:
        return next(index for index, table in enumerate(self._tables) if table.get(key) == info)

    def _kind(self, key: str) -> tuple[bool, Hashable]:
        """Return what is equal for keys that are alike; for most others it is the key itself.

        Before it stands whether all tensors of the key lie plainly in files.
        """
        plain = alike = True
        shape: tuple[int, ...] | None = None
        kind: list[Hashable] = []
        for table in self._tables:
            info = table.get(key)
            if info is None:
                kind.append(None)
                continue
            plain = plain and type(info) is TensorInfo
            alike = alike and shape in (None, info.shape) and is_merged(info)
            shape = info.shape
            kind.append(info.dtype)
        if not alike:
            return plain, key
        kind += [parts.kind(key) for parts in self._parts]
        return plain, tuple(kind)
