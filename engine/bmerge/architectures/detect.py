"""Finding out a checkpoint's architecture from the names of its tensors."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bmerge.architectures.architecture import Architecture
from bmerge.architectures.finer import finer
from bmerge.architectures.outline import Outline, whole
from bmerge.architectures.patterns import Contents
from bmerge.errors import ArchitectureError, nearest

__all__ = ["detect", "resolve"]


def detect(keys: Collection[str], known: Sequence[Architecture | Outline]) -> Architecture:
    """Return the architecture of a checkpoint.

    Where several recognise the keys, the one that asks for most wins, then the first; where
    none does, the generic rule makes one (:mod:`bmerge.architectures.generic`).

    Args:
        keys: all keys of the checkpoint; with its table of contents, shapes count too.
        known: the architectures to choose from.

    Returns:
        It, fitted to the checkpoint: with as many blocks as it has layers.
    """
    contents = Contents(keys)
    found = max(known, key=lambda candidate: candidate.certainty(contents), default=None)
    if found is None or not found.certainty(contents):
        from bmerge.architectures.generic import generic  # most models are known

        del contents  # of a million keys, it takes as much memory as what comes now
        return generic(keys)
    return finer(whole(found).fitted(contents), contents)


def resolve(
    name: str | None, keys: Collection[str], known: Sequence[Architecture | Outline]
) -> Architecture:
    """Return the architecture that a recipe names, or the detected one if it names none.

    Args:
        name: an id, ``generic`` for the generic rule, or None.
        keys: all keys of the first model.
        known: the architectures to choose from.

    Raises:
        ArchitectureError: if none has that id.
    """
    if name is None:
        return detect(keys, known)
    if name == "generic" or name.startswith("generic:"):
        from bmerge.architectures.generic import generic

        return generic(keys)
    ids = {candidate.id: candidate for candidate in known}
    if name not in ids:
        message = f"unknown architecture {name!r}"
        raise ArchitectureError(message, hint=nearest(name, [*ids, "generic"]))
    contents = Contents(keys)
    return finer(whole(ids[name]).fitted(contents), contents)
