"""Blocks for a model that no definition knows: any model with repeated layers has some.

The longest family of keys ``prefix.0.…, prefix.1.…, …`` numbers the blocks L00, L01, ….
Beside it, what comes before the layers is IN and what comes after is OUT; other parts of the
model (a text encoder, a VAE) are one block each, named for the start of their keys. Files may
list keys in any order, so before and after go by the customary names first.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable

from bmerge.architectures.architecture import Architecture, Rule
from bmerge.errors import ArchitectureError

__all__ = ["generic"]

_MOST_DIGITS = 9
_NOTATION = frozenset("[]{}")
"""Characters that mean something in a rule; no model is known to have them in its keys."""
_BEFORE = re.compile(r"embed|patch|stem|pos|cls|register|token|wte|wpe|_in\b|\bin_|conv_in|input")
_AFTER = re.compile(r"norm|ln_f|out|head|final|logit|\bfc\b|classif|pool")


def generic(keys: Collection[str]) -> Architecture:
    """Return a block map made for ``keys`` by rule.

    Raises:
        ArchitectureError: if there are no keys.
    """
    if not keys:
        raise ArchitectureError("a checkpoint without tensors has no architecture")
    families = _families(keys)
    if not families:
        return Architecture(
            "generic", "generic, no repeated layers", ("BASE",), (Rule("", "BASE"),)
        )
    prefix = min(families, key=lambda family: (-len(families[family]), len(family), family))
    numbers = families[prefix]
    width = max(2, len(str(max(numbers))))
    layers = [f"L{number:0{width}}" for number in sorted(numbers)]
    inside = re.compile(re.escape(prefix) + r"\d+\.").match
    around = {
        start: _around(start, prefix, families)
        for start in sorted({_start(key, prefix) for key in keys if not inside(key)})
        if not _NOTATION & set(start)
    }
    used = set(around.values())
    blocks = [
        *(["IN"] if "IN" in used else []),
        *layers,
        *(["OUT"] if "OUT" in used else []),
        *sorted(used - {"IN", "OUT"}),
    ]
    rules = [Rule(prefix + "{i}.", f"L{{i:0{width}}}")]
    rules += [Rule(start, around[start]) for start in sorted(around, key=len, reverse=True)]
    rules.append(Rule("", "OUT" if "OUT" in used else blocks[-1]))
    name = f"generic, {len(layers)} layers {prefix}0 …"
    identity = f"generic:{prefix}{len(layers)}"
    return Architecture(identity, name, tuple(blocks), tuple(rules))


def _families(keys: Iterable[str]) -> dict[str, set[int]]:
    """Return prefix → numbers that follow it, for prefixes with at least two."""
    families: defaultdict[str, set[int]] = defaultdict(set)
    for key in keys:
        found = _numbered(key)
        if found is not None and not _NOTATION & set(found[0]):
            families[found[0]].add(found[1])
    return {prefix: numbers for prefix, numbers in families.items() if len(numbers) > 1}


def _numbered(key: str) -> tuple[str, int] | None:
    """Return what comes before the first part of a key that is a number, and that number."""
    parts = key.split(".")
    for place, part in enumerate(parts[:-1]):
        if part.isdecimal():
            prefix = "".join(f"{before}." for before in parts[:place])
            return (prefix, int(part)) if len(part) <= _MOST_DIGITS else None
        if not part:
            return None
    return None


def _start(key: str, prefix: str) -> str:
    """Return how the rule for a key outside the layers starts.

    That is its name up to the first dot after what it shares with the layers' parent.
    """
    parent = _parent(prefix)
    if key.startswith(parent):
        return parent + key[len(parent) :].partition(".")[0]
    return key.partition(".")[0]


def _parent(prefix: str) -> str:
    """Return ``model.`` for ``model.layers.``."""
    return prefix[: prefix.rstrip(".").rfind(".") + 1]


def _around(start: str, prefix: str, families: Collection[str]) -> str:
    """Return the block of the keys that start so."""
    parent = _parent(prefix)
    beside = start.startswith(parent)
    if not beside or any(family.startswith(start + ".") for family in families):
        return re.sub(r"\W+", "_", start).upper()
    name = start[len(parent) :]
    if _BEFORE.search(name):
        return "IN"
    if _AFTER.search(name):
        return "OUT"
    return "IN" if start < prefix else "OUT"
