"""Dividing blocks that are too large to be of use.

The layers of a U-Net are stages of layers again, and a few of them hold most of the model. A block
of more than 15 % of the picture model's numbers is divided into the numbered layers within it,
``D02_ATTENTIONS_0`` for ``down_blocks.2.attentions.0.``, and these again. A plain layer, which has
no layers within it, stays one block, and so does a single tensor.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from bmerge.architectures.patterns import bare

__all__ = ["divided"]

_LARGEST_SHARE = 0.15
_DEEPEST = 4
_WITHIN = re.compile(r"(?:[^\[\]{}()|~]*?\.)??\d{1,9}\.")

_Places = dict[str, tuple[str, str]]


def divided(
    blocks: Sequence[str], places: Mapping[str, tuple[str, str]], model: Mapping[str, int]
) -> tuple[list[str], dict[str, str]]:
    """Return blocks of which none that can be divided is too large.

    Args:
        blocks: in their order.
        places: key → how the keys of its layer or part start, and their block.
        model: key → size, of the picture model.

    Returns:
        The blocks, and start of a key → block for those that are new, the more particular first.
    """
    places, found = dict(places), dict[str, str]()
    for _ in range(_DEEPEST):
        new = _division(places, model)
        if not new:
            break
        finer: list[str] = []
        for block in blocks:
            finer += [*dict.fromkeys(part for whole, part in new.values() if whole == block), block]
        used = {block for _, block in places.values()}
        gone = {whole for whole, _ in new.values()} - used
        blocks = [block for block in finer if block not in gone]
        found = {start: part for start, (_, part) in new.items()} | found
    return list(blocks), {start: part for start, part in found.items() if part in blocks}


def _division(places: _Places, model: Mapping[str, int]) -> dict[str, tuple[str, str]]:
    """Return start of keys → the block that they were in and the one that they are in now."""
    sizes: Counter[str] = Counter()
    members: defaultdict[str, list[str]] = defaultdict(list)
    for key, (_, block) in places.items():
        sizes[block] += model[key]
        members[block].append(key)
    limit = _LARGEST_SHARE * sum(model.values())
    parts: dict[str, tuple[str, str]] = {}
    for block in sorted(block for block, size in sizes.items() if size > limit):
        inside = {key: start for key in members[block] if (start := _inner(key, places[key][0]))}
        if len(set(inside.values())) < 2:
            continue
        for key, start in sorted(inside.items(), key=lambda item: _in_order(item[1])):
            within = start[len(places[key][0]) :]
            name = f"{block}.{within}" if block not in {"IN", "OUT"} else bare(start)
            parts[start] = (block, re.sub(r"\W+", "_", name).strip("_").upper())
            places[key] = (start, parts[start][1])
    return parts


def _inner(key: str, start: str) -> str | None:
    """Return how the keys of the numbered layer start that ``key`` is in, within ``start``."""
    found = _WITHIN.match(key, len(start))
    return None if found is None else start + found[0]


def _in_order(start: str) -> list[tuple[int, str]]:
    """Return what sorts names by the numbers in them."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in start.split(".")]
