"""Dividing blocks that are too large to be of use.

The layers of a U-Net are stages of layers again, and a few of them hold most of the model. A block
of more than 15 % of the picture model's numbers is divided into the numbered layers within it,
``D02_ATTENTIONS_0`` for ``down_blocks.2.attentions.0.``, and these again. Where nothing is
numbered, it is divided into its parts by their names: what is not a layer into all of them, a layer
into those that names number, ``L00_RES_UNIT1``. A plain layer, which has no such parts, stays one
block, and so does what one tensor makes large.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bmerge.architectures.patterns import bare, compiled
from bmerge.architectures.rules import Rule, Ruled

__all__ = ["divided"]

_LARGEST_SHARE = 0.15
_DEEPEST = 4
_AROUND = {"BASE", "IN", "OUT"}
"""Blocks of what is around the layers, whose parts are called by their own names."""
_WITHIN = re.compile(r"(?:[^\[\]{}()|~]*?\.)??\d{1,9}\.")
_PART = re.compile(r"\.?[^\[\]{}()|~.]+\.")
_LAYER = re.compile(r"(?:^|\.)\d+\.$")
"""How the start of a layer's keys ends."""
_COUNTED = re.compile(r"\D\d+\.$")
"""How the start of the keys of a part ends whose name is numbered."""


class _Place(NamedTuple):
    """Where a key is.

    Args:
        rule: index of the rule that speaks of it.
        start: how the keys of its layer or part start.
        block: its block.
    """

    rule: int
    start: str
    block: str


def divided(
    blocks: Sequence[str], rules: Sequence[Rule], sizes: Mapping[str, int]
) -> tuple[tuple[str, ...], tuple[Rule, ...]]:
    """Return blocks of which none that can be divided is too large, and rules for them.

    Args:
        blocks: in their order.
        rules: that put each key into one of them; the last speaks of all keys.
        sizes: key → how many numbers it has, of the picture model.
    """
    shares: Counter[str] = Counter()
    ruled = Ruled(rules)
    for key, size in sizes.items():
        shares[ruled.block_of(key)] += size
    if max(shares.values(), default=0) <= _LARGEST_SHARE * shares.total():
        return tuple(blocks), tuple(rules)
    places = _places(rules, sizes)
    before: defaultdict[int, list[Rule]] = defaultdict(list)
    for _ in range(_DEEPEST):
        new = _division(places, sizes)
        if not new:
            break
        finer: list[str] = []
        for block in blocks:
            parts = (part for part, whole in new.items() if whole == block)
            finer += [*dict.fromkeys(part.block for part in parts), block]
        gone = {*new.values()} - {place.block for place in places.values()}
        blocks = [block for block in dict.fromkeys(finer) if block not in gone]
        for part in reversed(new):
            before[part.rule].insert(0, Rule(part.start, part.block))
    found = [each for i, rule in enumerate(rules) for each in (*before[i], rule)]
    found = [rule for rule in found if "{" in rule.block or rule.block in blocks]
    if not found or found[-1].key:
        found.append(Rule("", blocks[-1]))
    return tuple(blocks), tuple(found)


def _places(rules: Sequence[Rule], keys: Mapping[str, int]) -> dict[str, _Place]:
    """Return key → its place, before anything is divided."""
    matches = [compiled(rule.key).match for rule in rules]
    places = {}
    for key in keys:
        i, end = next((i, found.end()) for i, each in enumerate(matches) if (found := each(key)))
        block = rules[i].match(key)
        assert block is not None, key
        places[key] = _Place(i, key[:end], block)
    return places


def _division(places: dict[str, _Place], sizes: Mapping[str, int]) -> dict[_Place, str]:
    """Divide each block once: change places, and return new place → the block that it was in."""
    shares: Counter[str] = Counter()
    members: defaultdict[str, list[str]] = defaultdict(list)
    for key, (_, _, block) in places.items():
        shares[block] += sizes[key]
        members[block].append(key)
    limit = _LARGEST_SHARE * shares.total()
    parts: dict[_Place, str] = {}
    for block in sorted(block for block, size in shares.items() if size > limit):
        largest = max(sizes[key] for key in members[block])
        if shares[block] - largest <= limit < largest:  # to take the rest away is of no use
            continue
        starts = {key: places[key].start for key in members[block]}
        inside = _numbered(starts) or _named(starts)
        for key, start in sorted(inside.items(), key=lambda item: _in_order(item[1])):
            within = start[len(places[key].start) :]
            name = bare(start) if block in _AROUND or not within else f"{block}.{within}"
            name = re.sub(r"\W+", "_", name).strip("_").upper()
            places[key] = _Place(places[key].rule, start, name)
            parts[places[key]] = block
    return parts


def _numbered(starts: Mapping[str, str]) -> dict[str, str]:
    """Return key → how the keys of its numbered layer start; empty, if there are not two layers.

    Args:
        starts: key → how the keys of the block or its part start.
    """
    inside = dict(starts)
    for _ in range(_DEEPEST):
        ends = ((key, _WITHIN.match(key, len(start))) for key, start in inside.items())
        inside = {key: key[: found.end()] for key, found in ends if found is not None}
        if len(set(inside.values())) != 1:
            break
    return inside if len(set(inside.values())) > 1 else {}


def _named(starts: Mapping[str, str]) -> dict[str, str]:
    """Return key → how the keys of its part start; empty, if the block has not two parts."""
    ends = ((key, start, _PART.match(key, len(start))) for key, start in starts.items())
    inside = {key: start if found is None else key[: found.end()] for key, start, found in ends}
    modules = {start for key, start in inside.items() if "." in key[len(start) :]}
    inside = {
        key: start
        for key, start in inside.items()
        if start
        and (not _LAYER.search(starts[key]) or (start in modules and _COUNTED.search(start)))
    }
    others = len(inside) < len(starts)
    return inside if len(set(inside.values())) + others > 1 else {}


def _in_order(start: str) -> list[tuple[int, str]]:
    """Return what sorts names by the numbers in them."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in start.split(".")]
