"""Values of mergekit's parameters: a number or a list over the layers, for all or by filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from bmerge.recipe import Node

__all__ = ["NO_WORD", "ByWord", "first_of", "value_at", "values_of"]

NO_WORD = "*"
ByWord: TypeAlias = list[tuple[str, float | list[float]]]
"""Values, each for a word in the names of keys."""


def first_of(name: str, places: Sequence[Mapping[str, Node]]) -> Node | None:
    """Return a parameter from the first place that has it."""
    return next((place[name] for place in places if name in place), None)


def values_of(node: Node | None, default: float | None) -> ByWord:
    """Return the values of a parameter, each for a word in the names of keys."""
    if node is None:
        assert default is not None
        return [(NO_WORD, default)]
    conditions = node.value if isinstance(node.value, list) else [node]
    if not any(isinstance(each.value, dict) for each in conditions):
        return [(NO_WORD, _number(node))]
    found = []
    for each in conditions:
        fields = each.mapping(("filter", "value"))
        if "value" not in fields:
            raise each.error(f"{each.name} has no 'value'")
        word = fields["filter"].text() if "filter" in fields else NO_WORD
        found.append((word, _number(fields["value"])))
    return found


def _number(node: Node) -> float | list[float]:
    if isinstance(node.value, list):
        return [item.number() for item in node.value]
    return node.number()


def value_at(values: Sequence[float], t: float) -> float:
    """Return the value at a place from 0 to 1 of a list, between two of which it is linear."""
    scaled = t * (len(values) - 1)
    index = int(scaled)
    share = scaled - index
    return (1 - share) * values[index] + share * values[min(index + 1, len(values) - 1)]
