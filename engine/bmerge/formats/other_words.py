"""The same model under words before all its keys, where nothing else is known of it."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping

from bmerge.formats.checkpoint import Tensor
from bmerge.formats.unwrapped import common_start

__all__ = ["under_words_of"]


def under_words_of(
    tensors: Mapping[str, Tensor], known: Mapping[str, Tensor]
) -> dict[str, Tensor] | None:
    """Return tensors by the names of a model, if one has words before all names of the other.

    All names of one, and more than half of the other's, have to be the same then, and so do most of
    their shapes.

    Args:
        tensors: by their names in a part, none of which is in the model.
        known: the model's.

    Returns:
        None if they are another model, or if they could be the model in several ways.
    """
    renamings = [(words, "") for words in _starts(tensors)] + [
        ("", words) for words in _starts(known)
    ]
    forms = (
        {new + name[len(old) :]: tensor for name, tensor in tensors.items()}
        for old, new in renamings
    )
    found = [form for form in forms if _are_one(form, known)]
    return found[0] if len(found) == 1 else None


def _are_one(tensors: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> bool:
    both = tensors.keys() & known.keys()
    counts = sorted((len(tensors), len(known)))
    alike = sum(tensors[name].shape == known[name].shape for name in both)
    return len(both) == counts[0] and 2 * len(both) > counts[1] and 2 * alike > len(both)


def _starts(names: Collection[str]) -> list[str]:
    """Return what may be left out before all names: the first word, the first two, …."""
    words = common_start(names).split(".")[:-1]
    return [*itertools.accumulate(f"{word}." for word in words)]
