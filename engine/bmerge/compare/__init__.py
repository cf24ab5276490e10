"""How far models are from each other, and what one is most likely made of.

Every number is a reduction that the native executor takes in one pass over the files, with the
memory of a few buffers. Above :mod:`bmerge.pipeline`; ``bmerge diff`` prints what comes of it.
"""

from __future__ import annotations

from bmerge.compare.difference import Difference, Distance, compare
from bmerge.compare.made_of import MadeOf, made_of
from bmerge.compare.pairs import AlignedModels, align

__all__ = ["AlignedModels", "Difference", "Distance", "MadeOf", "align", "compare", "made_of"]
