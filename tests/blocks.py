"""What tests of architectures ask of a block map."""

from __future__ import annotations

from collections import Counter

__all__ = ["called", "sizes_of_blocks"]


def called(architecture):
    """Return the id of an architecture and its variant."""
    return " ".join([architecture.id, *architecture.variant])


def sizes_of_blocks(architecture, table):
    """Return block → bytes of its tensors."""
    sizes = Counter()
    for key, tensor in table.items():
        sizes[architecture.block_of(key)] += tensor.nbytes
    return sizes
