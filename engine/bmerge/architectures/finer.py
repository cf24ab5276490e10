"""Finer blocks for those files of a known architecture whose parts are larger than usual.

Of encoders, language models and autoencoders there are many relatives that no definition was made
for: a small language model with a large eye, one with ears, an autoencoder with other levels. What
holds more than 15 % of such a file is divided as the generic rule does it
(:mod:`bmerge.architectures.divided`). The blocks of a picture model are what its users know,
however large.
"""

from __future__ import annotations

from dataclasses import replace

from bmerge.architectures.architecture import Architecture
from bmerge.architectures.divided import divided
from bmerge.architectures.patterns import Contents

__all__ = ["finer"]


def finer(architecture: Architecture, contents: Contents) -> Architecture:
    """Return an architecture of which no block is too large that can be divided.

    Args:
        architecture: fitted to a checkpoint.
        contents: of the checkpoint.
    """
    if not architecture.divided:
        return architecture
    sizes = contents.sizes()
    blocks, rules = divided(architecture.blocks, architecture.rules, sizes)
    return replace(architecture, blocks=blocks, rules=rules)
