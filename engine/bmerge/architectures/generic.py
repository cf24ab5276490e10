"""Blocks for a model that no definition knows: any model with repeated layers has some.

The text encoders and the VAE of a file are one block each. Of what is left, the picture model, the
longest family of keys ``prefix.0.…, prefix.1.…, …`` numbers the blocks L00, L01, …; each other
family that holds more than 3 % of it has blocks with the initials of its name, D00 for
``double_blocks.0.``. What comes before the layers is IN and what comes after is OUT; other parts
are one block each, named for the start of their keys. Files may list keys in any order, so before
and after go by the customary names first. A block of more than 15 % that is itself made of
repeated layers is divided (:mod:`bmerge.architectures.divided`).
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from bmerge.architectures.architecture import Architecture
from bmerge.architectures.divided import divided
from bmerge.architectures.patterns import PREFIXES, bare
from bmerge.architectures.rules import Rule
from bmerge.errors import ArchitectureError

__all__ = ["generic"]

_MOST_DIGITS = 9
_NUMBERED_SHARE = 0.03
_NOTATION = frozenset("[]{}()|~")
"""Characters that mean something in a rule; no model is known to have them in its keys."""
_BEFORE = re.compile(r"embed|patch|stem|pos|cls|register|token|wte|wpe|_in\b|\bin_|conv_in|input")
_AFTER = re.compile(r"norm|ln_f|out|head|final|logit|\bfc\b|classif|pool")
_COMPONENT = re.compile(
    r"(text_encoders\.[^.]+|conditioner\.embedders\.\d+|conditioner|cond_stage_model"
    r"|text_encoder(?:_\d)?|clip_vision|first_stage_model|vae|audio_vae|vocoder|model_ema)\."
)
_NUMBERED = re.compile(r"((?:[^.]+\.)*?)(\d+)\.")
"""Parts of a key before the first that is a number and has others after it."""
_LAYERS = {"blocks", "block", "layers", "layer", "stages"}


def generic(keys: Collection[str]) -> Architecture:
    """Return a block map made for ``keys`` by rule.

    Args:
        keys: the names of all tensors; with a table of contents, sizes count too.

    Raises:
        ArchitectureError: if there are no keys.
    """
    if not keys:
        raise ArchitectureError("a checkpoint without tensors has no architecture")
    prefix = _prefix_of_all(keys)
    return _under_any_prefix(_by_rule(_without(keys, prefix))) if prefix else _by_rule(keys)


def _by_rule(keys: Collection[str]) -> Architecture:
    """Return a block map for keys; a prefix before all of them counts as a part of their names."""
    components = {key: found[1] for key in keys if (found := _COMPONENT.match(key))}
    components = {key: start for key, start in components.items() if not _NOTATION & set(start)}
    if len(components) == len(keys):  # a text encoder or VAE alone is the model
        components = {}
    model = {key: size for key, size in _sizes(keys) if key not in components}
    families = _families(model)
    if not families:
        sizes = model if isinstance(keys, Mapping) else {}
        finer, parts = divided(["BASE"], [Rule("", "BASE")], sizes)
        return Architecture("generic", "generic, no repeated layers", finer, parts)
    main = min(families, key=lambda family: (-len(families[family]), len(family), family))
    letters = _letters(families, main, model)
    rules = {
        f"{prefix}{{i}}.": f"{name}{{i:0{max(2, len(str(max(families[prefix]))))}}}"
        for prefix, name in letters.items()
    }
    numbered = ((key, _numbered(key)) for key in model)
    outside = (key for key, found in numbered if found is None or found[0] not in letters)
    starts = {key: _start(key, main) for key in outside}
    around = {start: _around(start, main, families) for start in set(starts.values())}
    around |= {f"{start}.": _name(start) for start in components.values()}
    around = {start: block for start, block in around.items() if not _NOTATION & set(start)}
    rules |= {start: around[start] for start in sorted(around, key=lambda s: (-len(s), s))}
    used = set(around.values())
    layers = [
        rules[f"{prefix}{{i}}."].format(i=number)
        for prefix in letters
        for number in sorted(families[prefix])
    ]
    before, after = ([block] if block in used else [] for block in ("IN", "OUT"))
    blocks = [*before, *layers, *after, *sorted(used - {"IN", "OUT"})]
    rest = "OUT" if "OUT" in used else blocks[-1]
    rules[""] = rest
    count = len(families[main])
    finer, parts = divided(
        blocks,
        [Rule(start, block) for start, block in rules.items()],
        model if isinstance(keys, Mapping) else {},
    )
    return Architecture(
        f"generic:{bare(main)}{count}", f"generic, {count} layers {main}0 …", finer, parts
    )


def _prefix_of_all(keys: Collection[str]) -> str:
    """Return what stands before all keys of the picture model, if some writer of files puts it."""
    model = [key for key in keys if "." in key and not _COMPONENT.match(key)]
    return next((each for each in PREFIXES if model and all(k.startswith(each) for k in model)), "")


def _without(keys: Collection[str], prefix: str) -> Collection[str]:
    """Return keys, with what is known of their tensors, without a prefix."""
    if isinstance(keys, Mapping):
        return {key.removeprefix(prefix): info for key, info in keys.items()}
    return [key.removeprefix(prefix) for key in keys]


def _under_any_prefix(found: Architecture) -> Architecture:
    """Return an architecture whose rules speak of the keys of a picture model under any prefix."""
    rules = tuple(
        rule
        if not rule.key or _COMPONENT.fullmatch(rule.key)
        else replace(rule, key=f"~{rule.key}")
        for rule in found.rules
    )
    return replace(found, rules=rules)


def _sizes(keys: Collection[str]) -> Iterator[tuple[str, int]]:
    """Yield how many numbers each tensor has; one, where that is not known."""
    if isinstance(keys, Mapping):
        return ((key, math.prod(getattr(info, "shape", ()))) for key, info in keys.items())
    return ((key, 1) for key in keys)


def _letters(
    families: Mapping[str, Collection[int]], main: str, model: Mapping[str, int]
) -> dict[str, str]:
    """Return prefix → what is before the numbers of its blocks, for families of some size."""
    sizes: Counter[str] = Counter()
    for key, size in model.items():
        if (found := _numbered(key)) is not None:
            sizes[found[0]] += size
    least = _NUMBERED_SHARE * sum(model.values())
    letters = {main: "L"}
    taken = {"L", "IN", "OUT", "BASE"}
    for prefix in sorted(families):
        if prefix == main or sizes[prefix] <= least:
            continue
        parts = [re.sub(r"\W", "_", part) for part in bare(prefix).split(".")[:-1]]
        words = [word for word in parts[-1].split("_") if word and word not in _LAYERS]
        words = words or [word for word in "_".join(parts).split("_") if word]
        initials = "".join(word[0] for word in words).upper()
        name = initials if initials not in taken else "_".join(parts).upper() + "_"
        letters[prefix] = name
        taken.add(name)
    return letters


def _name(start: str) -> str:
    """Return the name of a block for keys that start so."""
    return re.sub(r"\W+", "_", bare(start)).upper()


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
    found = _NUMBERED.match(key)
    if found is None or len(found[2]) > _MOST_DIGITS:
        return None
    return found[1], int(found[2])


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
        return _name(start)
    name = start[len(parent) :]
    if _BEFORE.search(name):
        return "IN"
    if _AFTER.search(name):
        return "OUT"
    return "IN" if start < prefix else "OUT"
