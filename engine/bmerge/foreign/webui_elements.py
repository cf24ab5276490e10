"""supermerger's weights of elements, ``blocks:elements:ratio``, as values for patterns of keys."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError
from bmerge.recipe import BlockWeights

__all__ = ["with_elements"]

_HEAD = re.compile(r"(?:model\.diffusion_model\.(?:(?:in|out)put_blocks\.\d+|\w+)|[^.]*)\.?")
"""What the keys of a block, and of no other, begin with."""
_TWELVE = tuple(f"{i:02}" for i in range(12))
_BLOCKS = ("BASE", *(f"IN{i}" for i in _TWELVE), "M00", *(f"OUT{i}" for i in _TWELVE))
"""The names by which it knows blocks; those of SDXL have the first 20, whatever they are."""


def with_elements(
    weights: BlockWeights, entries: object, architecture: Architecture, keys: Collection[str]
) -> BlockWeights:
    """Return weights with those of elements.

    Args:
        weights: of blocks.
        entries: what the metadata says: a list, or text with commas or line breaks.
        architecture: of the file.
        keys: of the file.

    Raises:
        RecipeError: if an entry cannot be read, or cannot be said by patterns.
    """
    text = ",".join(map(str, entries)) if isinstance(entries, list) else str(entries or "")
    found: dict[str, float] = {}
    for entry in (each.strip() for each in re.split(r"[,\n]", text)):
        if entry.count(":") != 2:  # it leaves these out, too
            continue
        blocks, elements, ratio = entry.split(":")
        try:
            value = float(ratio)
        except ValueError:
            message = f"elements {entry!r}: {ratio!r} is not a number"
            raise RecipeError(message, hint="random ratios are not in the file") from None
        for pattern in _patterns(entry, blocks, elements, architecture, keys):
            found.pop(pattern, None)  # the last one counts
            found[pattern] = value
    return replace(weights, keys=found) if found else weights


def _patterns(
    entry: str, blocks: str, elements: str, architecture: Architecture, keys: Collection[str]
) -> list[str]:
    """Return patterns of exactly those keys that an entry is for."""
    inverted, words = _words(elements)
    if inverted:
        hint = "give all the value, and then the exceptions theirs: docs/other-tools.md"
        raise RecipeError(f"elements {entry!r}: NOT has no counterpart here", hint=hint)
    chosen = _chosen(entry, blocks, architecture)
    names = {key: chosen.get(architecture.block_of(key)) for key in keys}
    wanted = {k for k, name in names.items() if name and any(w in k + name for w in words)}
    heads = [""]
    if len(chosen) < len(architecture.blocks):
        heads = list(dict.fromkeys(_head(key) for key in keys if names[key]))
    parts = [
        f"{head or '*'}*" if word in head else f"{head}*{word}*" for head in heads for word in words
    ]
    patterns = [p for p in parts if any(fnmatchcase(key, p) for key in keys)]
    if wanted != {key for key in keys if any(fnmatchcase(key, p) for p in patterns)}:
        raise RecipeError(f"elements {entry!r} cannot be said by patterns of keys")
    return patterns


def _chosen(entry: str, text: str, architecture: Architecture) -> dict[str, str]:
    """Return the blocks of an entry → what supermerger calls them."""
    if architecture.blocks[0] != _BLOCKS[0]:
        raise RecipeError(f"elements {entry!r}: {architecture.id} has none of its blocks")
    inverted, words = _words(re.sub(r"(\w+)-(\w+)", _expanded, text))
    for word in words:
        if not any(word in block for block in _BLOCKS):
            raise RecipeError(f"elements {entry!r}: unknown block {word!r}")
    names = dict(zip(architecture.blocks, _BLOCKS, strict=False))
    return {b: n for b, n in names.items() if any(w in n for w in words) is not inverted}


def _words(text: str) -> tuple[bool, Sequence[str]]:
    """Return the words, and whether all others are meant."""
    words = text.split(" ")
    return (True, words[1:]) if words[0] == "NOT" else (False, words)


def _expanded(found: re.Match[str]) -> str:
    first, last = found[1], found[2]
    if first not in _BLOCKS or last not in _BLOCKS:
        return found[0]
    begin, end = sorted((_BLOCKS.index(first), _BLOCKS.index(last)))
    return " ".join(_BLOCKS[begin : end + 1])


def _head(key: str) -> str:
    found = _HEAD.match(key)
    assert found is not None
    return found[0]
