"""Two layouts of one kind of model, and a model's tensors in either of them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from bmerge.formats.checkpoint import Tensor, TensorInfo
from bmerge.formats.extents import is_of
from bmerge.formats.layouts.moves import moved
from bmerge.formats.layouts.paths import Found, Paths, filled
from bmerge.formats.layouts.rules import LayoutRule, expanded
from bmerge.formats.prefixes import HEAD
from bmerge.records import dataclass

__all__ = ["LayoutPair", "Tensors", "has", "pairs"]

Tensors: TypeAlias = "dict[str, Tensor]"
"""Tensors by their names in a part: without what is before the keys of the part in its file."""

_Steps: TypeAlias = "Paths[_Step]"
"""To one of two layouts: what is done to a tensor, by its name in the other."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A rule that is followed to one of its sides: from some paths to others."""

    rule: LayoutRule
    here: tuple[str, ...]
    there: tuple[str, ...]

    def taken(self, found: Found[_Step]) -> list[str]:
        """Return the names of the tensors that it takes, as one that it was found by tells."""
        return [filled(path, found.numbers) + found.rest for path in self.here]

    def names(self, found: Found[_Step]) -> list[str]:
        """Return the names of what comes of them."""
        return [filled(path, found.numbers) + found.rest for path in self.there]


@dataclass(frozen=True, eq=False)
class LayoutPair:
    """How a kind of model is called in two layouts.

    Args:
        name: of the kind.
        layouts: names of the two.
        detect: names that a model in either has, and with ``!`` those that it has not; with a shape
            behind one, ``x.weight (3n, n)``, it is of that shape.
        data: the file; see :mod:`.rules`.
    """

    name: str
    layouts: tuple[str, str]
    detect: tuple[tuple[str, ...], tuple[str, ...]]
    data: Mapping[str, Any]

    def side_of(self, names: Collection[str]) -> int | None:
        """Return in which of the two layouts a model is; None if it is another kind of model."""
        for side, wanted in enumerate(self.detect):
            if all(has(names, name) for name in wanted):
                return side
        return None

    def converted(self, tensors: Mapping[str, Tensor], side: int) -> Tensors:
        """Return a model's tensors in the other of the two layouts.

        What no rule is for, or does not have the shape that its rule takes, keeps its name. What
        one layout has and the other computes is taken from a file beside this one.

        Args:
            tensors: in one of the layouts.
            side: the layout that is wanted.
        """
        numbers = tuple(self._numbers(tensors, 1 - side).items())
        found = _moved(tensors, _compiled(self, numbers)[side], side)
        without = tuple(self.data.get("without", {}).get(self.layouts[side], ()))
        if without:
            gone = _gone(without)
            found = ((name, tensor) for name, tensor in found if gone.find(name) is None)
        return _constants(self, side) | dict(found)

    def apart(self, side: int) -> tuple[str, ...]:
        """Return the names in one layout that the other has in a file of its own."""
        return tuple(self.data.get("apart", {}).get(self.layouts[side], ()))

    def _numbers(self, names: Iterable[str], side: int) -> dict[str, int]:
        """Return the numbers that rules go by: how many layers a model has in a list."""
        counted = {}
        for letter, lists in self.data.get("counts", {}).items():
            pattern = re.compile(re.escape(lists[side]) + r"\.(\d{1,5})\.")
            found = (pattern.match(name) for name in names)
            counted[letter] = 1 + max((int(match[1]) for match in found if match), default=-1)
        return counted


@cache
def pairs() -> tuple[LayoutPair, ...]:
    """Return all that are known, by name."""
    return tuple(_load(file) for file in sorted(Path(__file__).parent.glob("*.json")))


def _load(file: Path) -> LayoutPair:
    data = json.loads(file.read_text("utf-8"))
    if "like" in data:
        base = json.loads((file.parent / f"{data['like']}.json").read_text("utf-8"))
        rules = [*data["rules"], *base["rules"]]
        tables = {**base.get("tables", {}), **data.get("tables", {})}
        data = {**base, **data, "rules": rules, "tables": tables}
    (first, second), (one, other) = data["layouts"], data["detect"]
    return LayoutPair(file.stem, (first, second), (tuple(one), tuple(other)), data)


def has(names: Collection[str], name: str) -> bool:
    """Tell whether a model has a tensor; see :class:`LayoutPair` for the notation."""
    if name.startswith("!"):
        return not has(names, name[1:])
    name, _, shape = name.partition(" ")
    if shape:
        return isinstance(names, Mapping) and name in names and is_of(names[name].shape, shape)
    return name in names or HEAD + name in names


@cache
def _constants(pair: LayoutPair, side: int) -> dict[str, Tensor]:
    """Return what is the same in all models that are in a layout, and in none of the other."""
    found: dict[str, Tensor] = {}
    for name, (dtype, shape, data) in pair.data.get("with", {}).get(pair.layouts[side], {}).items():
        file = Path(__file__).with_name(data)
        found[name] = TensorInfo(name, dtype, tuple(shape), file, 0, file.stat().st_size)
    return found


@lru_cache(maxsize=256)
def _compiled(pair: LayoutPair, numbers: tuple[tuple[str, int], ...]) -> tuple[_Steps, _Steps]:
    """Return the steps to the left and to the right."""
    sides: tuple[_Steps, _Steps] = (Paths(), Paths())
    for rule in expanded(pair.data["rules"], pair.data.get("tables", {}), dict(numbers)):
        for found, there, here in zip(
            sides, (rule.left, rule.right), (rule.right, rule.left), strict=True
        ):
            for path in here:
                found.enter(path, _Step(rule, here, there))
    return sides


@lru_cache(maxsize=64)
def _gone(paths: tuple[str, ...]) -> Paths[bool]:
    """Return what finds the names that a layout does not have."""
    found: Paths[bool] = Paths()
    for path in paths:
        found.enter(path, value=True)
    return found


def _moved(tensors: Mapping[str, Tensor], steps: _Steps, side: int) -> Iterator[tuple[str, Tensor]]:
    done: set[str] = set()
    for name, tensor in tensors.items():
        found = steps.find(name)
        names = found.value.names(found) if found else []
        if names and names[0] in done:
            continue
        parts = _parts(found, tensors) if found else None
        there = moved(parts, found.value.rule, names, side) if found and parts else None
        if there is None:
            yield name, tensor
        else:
            done.add(names[0])
            yield from ((each.key, each) for each in there)


def _parts(found: Found[_Step], tensors: Mapping[str, Tensor]) -> list[Tensor] | None:
    """Return all tensors that a step takes, if they are there."""
    names = found.value.taken(found)
    return [tensors[name] for name in names] if all(map(tensors.__contains__, names)) else None
