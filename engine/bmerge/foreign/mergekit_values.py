"""Values of mergekit's parameters: a number or a list over the layers, for all or by filter."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from bmerge.recipe import BlockWeights, Node

__all__ = ["NO_WORD", "ByWord", "first_of", "layers_of", "over_layers", "values_of"]

NO_WORD = "*"
ByWord: TypeAlias = list[tuple[str, float | list[float]]]
"""Values, each for a word in the names of keys."""


def first_of(name: str, places: Sequence[Mapping[str, Node]]) -> Node | None:
    """Return a parameter from the first place that has it."""
    return next((place[name] for place in places if name in place), None)


def values_of(
    name: str, places: Sequence[Mapping[str, Node]], default: float | None
) -> ByWord | None:
    """Return the values of a parameter, each for a word in the names of keys, the first for all.

    Where no filter of a place fits, the next place that has the parameter counts, and at last its
    default.

    Args:
        name: of the parameter.
        places: where it may stand, the first that has it before the others.
        default: for what no place has a value; None: it has none.

    Returns:
        The values, or None if there is none at all.
    """
    found: ByWord = []
    for place in places:
        if name in place:
            found += _conditions(place[name])
    if default is not None:
        found.append((NO_WORD, default))
    ends = [index for index, (word, _) in enumerate(found, start=1) if word == NO_WORD]
    return found[: ends[0]] if ends else found or None


def _conditions(node: Node) -> ByWord:
    conditions = node.value if isinstance(node.value, list) else [node]
    if not any(isinstance(each.value, dict) for each in conditions):
        return [(NO_WORD, _number(node))]
    found: ByWord = []
    for each in conditions:
        fields = each.mapping(("filter", "value"))
        if "value" not in fields:
            raise each.error(f"{each.name} has no 'value'")
        without = "filter" not in fields or fields["filter"].value is None
        word = NO_WORD if without else fields["filter"].text()
        found.append((word, _number(fields["value"])))
    return found


def _number(node: Node) -> float | list[float]:
    if isinstance(node.value, list):
        if not node.value:
            raise node.error(f"{node.name} is a list over layers without values")
        return [item.number() for item in node.value]
    return node.number()


_LAYER = re.compile(r"L\d+")
_AFTER = re.compile(r"OUT|HEAD|NORM|FINAL|LOGIT|SCORE|CLS|CLASSIF|POOL|PREDICT")
"""Blocks of what comes after the layers; everything else outside them comes before."""


def layers_of(blocks: Sequence[str]) -> list[str]:
    """Return the blocks that are layers."""
    return [block for block in blocks if _LAYER.fullmatch(block)]


def over_layers(values: Sequence[float], blocks: Sequence[str]) -> BlockWeights:
    """Return a list over the layers as weights of blocks.

    The list runs from the first layer to the last; what comes before them has its first value,
    what comes after them its last.
    """
    layers = layers_of(blocks)
    last = max(len(layers) - 1, 1)
    given = {b: _at(values, n / last) for n, b in enumerate(layers)}
    after = [b for b in blocks if b not in given and _AFTER.search(b)]
    return BlockWeights(values[0], given | dict.fromkeys(after, values[-1]))


def _at(values: Sequence[float], t: float) -> float:
    """Return the value at a place from 0 to 1 of a list, between two of which it is linear."""
    scaled = t * (len(values) - 1)
    index = int(scaled)
    share = scaled - index
    return (1 - share) * values[index] + share * values[min(index + 1, len(values) - 1)]
