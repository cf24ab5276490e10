"""Reading the ``choose`` section of a study file: places in ``merge`` → what may stand there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from bmerge.recipe.document import Node
from bmerge.recipe.schema import Recipe
from bmerge.records import dataclass
from bmerge.space.choices import PREFIX, Choice, Choices
from bmerge.space.protocols import Parameter
from bmerge.study_file.space import read_range
from bmerge.study_file.space_entry import HyperparameterSpace
from bmerge.study_file.space_kinds import kind_problem

__all__ = ["read_choices"]


def read_choices(node: Node, merge: Node, read_merge: Callable[[Node], Recipe]) -> Choices:
    """Read the section.

    Args:
        node: place, as ``method`` or ``models.1`` → a list of what may stand there, or a mapping
            with a ``range`` of numbers, in each of some ``blocks`` where it has block weights.
        merge: the section in which the places are.
        read_merge: reads such a section.

    Raises:
        RecipeError: for a place that is not there, or choices that make no sense, with the line.
    """
    spots: list[_Spot] = []
    for place, entry in node.mapping().items():
        parts = tuple(place.split("."))
        blocks = _blocks(entry)
        if blocks:
            merge = _with_blocks(merge, parts, blocks, entry)
        places = [(*parts, block) for block in blocks] or [parts]
        spots += [_spot(each, entry, merge) for each in places]

    def recipe_at(values: Mapping[str, float]) -> Recipe:
        section = merge
        for spot in spots:
            section = _changed(section, spot.parts, spot.node(values[spot.choice.name]))
        return read_merge(section)

    return Choices(tuple(spot.choice for spot in spots), recipe_at)


@dataclass(frozen=True, slots=True)
class _Spot:
    """A place: its way in the section, its choice, and the nodes that may stand there.

    Where any number of a range may stand there, ``nodes`` has the range alone.
    """

    parts: tuple[str, ...]
    choice: Choice
    nodes: tuple[Node, ...]

    def node(self, value: float) -> Node:
        """Return what stands there for a value of the parameter."""
        if self.choice.parameter.choices:
            return self.nodes[int(value)]
        return replace(self.nodes[0], value=int(value) if self.choice.parameter.integer else value)


def _blocks(node: Node) -> list[str]:
    """Return the blocks that have a number each; none for one number."""
    if not isinstance(node.value, dict) or "blocks" not in node.value:
        return []
    entry = node.value["blocks"]
    names = [item.text() for item in entry.sequence()]
    if not names or len(set(names)) < len(names):
        raise entry.error(f"{entry.name} must be one or more blocks, each once")
    return names


def _with_blocks(merge: Node, parts: Sequence[str], blocks: Sequence[str], node: Node) -> Node:
    """Return the section with block weights at a place: in each of the blocks what is there now."""
    own = _found(merge, parts, node)
    if own is None:
        raise node.error(f"{node.name}: the merge must have a value there")
    known: dict[str, Node] = own.value if isinstance(own.value, dict) else {"*": own}
    named: dict[str, Node] = {}
    for block in blocks:
        here = known.get(block, known.get("*"))
        if here is None:
            raise node.error(f"{node.name}: the merge must have a value there for {block} or *")
        named[block] = here
    return _changed(merge, parts, replace(own, value={**known, **named}))


def _spot(parts: tuple[str, ...], node: Node, merge: Node) -> _Spot:
    place = ".".join(parts)
    own = _found(merge, parts, node)
    if isinstance(node.value, dict):
        choice = _numbers(PREFIX + place, node, own)
        return _Spot(parts, choice, (node,))
    nodes = list(node.sequence())
    if own is not None:
        same = [item for item in nodes if item.plain() == own.plain()]
        if not same:
            raise node.error(f"{node.name} must have what the merge has there, {_label(own)}, too")
        nodes = [*same, *(item for item in nodes if item not in same)]
    labels = tuple(_label(item) for item in nodes)
    if len(set(labels)) < max(2, len(labels)):
        raise node.error(f"{node.name} must be two or more different ones")
    parameter = Parameter(PREFIX + place, 0.0, len(labels) - 1.0, choices=labels)
    return _Spot(parts, Choice(parameter, 0.0), tuple(nodes))


def _numbers(name: str, node: Node, own: Node | None) -> Choice:
    keys = node.mapping(("range", "scale", "integer", "blocks"))
    if "range" not in keys:
        raise node.error(f"{node.name} needs the key 'range'")
    low, high = read_range(keys["range"])
    log = "scale" in keys and keys["scale"].text(("linear", "log")) == "log"
    integer = "integer" in keys and keys["integer"].boolean()
    if problem := kind_problem(HyperparameterSpace(log=log, integer=integer), (low, high)):
        raise keys["range"].error(f"{node.name}: {problem}")
    parameter = Parameter(name, low, high, log=log, integer=integer)
    default = low if own is None else own.number()
    if not low <= default <= high:
        raise node.error(f"{node.name}: the merge has {default:g} there, outside the range")
    return Choice(parameter, default)


def _found(merge: Node, parts: Sequence[str], node: Node) -> Node | None:
    """Return what stands at a place; None where nothing does but something may."""
    here: Node | None = merge
    for index, part in enumerate(parts):
        if here is not None and isinstance(here.value, dict):
            here = here.value.get(part)
            if here is None and index < len(parts) - 1:
                raise node.error(f"{node.name}: the merge has no {'.'.join(parts[: index + 1])}")
        elif here is not None and isinstance(here.value, list) and part.isdecimal():
            if int(part) >= len(here.value):
                raise node.error(f"{node.name}: {'.'.join(parts[:index])} has no entry {part}")
            here = here.value[int(part)]
        else:
            raise node.error(f"{node.name}: there is no such place in the merge")
    return here


def _changed(node: Node, parts: Sequence[str], new: Node) -> Node:
    """Return a section with something else at a place."""
    if not parts:
        return new
    if isinstance(node.value, list):
        entries = list(node.value)
        entries[int(parts[0])] = _changed(entries[int(parts[0])], parts[1:], new)
        return replace(node, value=entries)
    keys = node.mapping()
    inner = _changed(keys[parts[0]], parts[1:], new) if parts[1:] else new
    return replace(node, value={**keys, parts[0]: inner})


def _label(node: Node) -> str:
    plain = node.plain()
    return plain if isinstance(plain, str) else json.dumps(plain)
