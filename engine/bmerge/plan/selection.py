"""Which tensors a recipe leaves alone or leaves out: its ``exclude`` and ``prune``."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError, nearest
from bmerge.recipe.weights import block_range

__all__ = ["excluded", "kept"]

_WILD = "*?[]."


def excluded(
    patterns: Iterable[str], keys: Collection[str], architecture: Architecture
) -> frozenset[str]:
    """Return the keys that some pattern names.

    Args:
        patterns: blocks, ranges of blocks (``IN00-IN05``) and glob patterns of keys.
        keys: all there are.
        architecture: whose blocks are meant.

    Raises:
        RecipeError: if a pattern names none of them.
    """
    found: set[str] = set()
    for pattern in patterns:
        named = _named(pattern, keys, architecture)
        if not named:
            raise _nothing_named(pattern, keys, architecture)
        found |= named
    return frozenset(found)


def kept(keys: Iterable[str], architecture: Architecture) -> list[str]:
    """Return the keys that are not leftovers of training, in their order.

    Raises:
        RecipeError: if all of them are.
    """
    found = [key for key in keys if not architecture.is_leftover(key)]
    if not found:
        message = (
            "prune: nothing would be left, all tensors are EMA weights or leftovers of training"
        )
        raise RecipeError(message, hint="merge without it: such a file may hold EMA weights alone")
    return found


def _named(pattern: str, keys: Collection[str], architecture: Architecture) -> set[str]:
    ends = [end.strip() for end in pattern.split("-")]
    if all(end in architecture.blocks for end in ends):
        blocks = block_range(pattern, architecture)
        return {key for key in keys if architecture.block_of(key) in blocks}
    return {key for key in keys if fnmatchcase(key, pattern)}


def _nothing_named(pattern: str, keys: Collection[str], architecture: Architecture) -> RecipeError:
    """Return the error of a pattern that names no key, with the nearest block, key or word."""
    if pattern in architecture.blocks:
        return RecipeError(f"exclude: the first model has no tensor in the block {pattern!r}")
    words = {word for key in keys for word in key.split(".") if not word.isdigit()}
    hint = nearest(pattern.strip(_WILD), {*architecture.blocks, *keys, *words})
    if all(part.strip() in architecture.blocks for part in pattern.split(",")):
        hint = "name each of them by itself: --exclude may be repeated"
    message = f"exclude: {pattern!r} is not a block of {architecture.id} and matches no key"
    return RecipeError(message, hint=hint)
