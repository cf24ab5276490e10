"""The tensors of models that ComfyUI knows: names and shapes at their true size.

``data/comfyui_layouts.json.gz`` has them as ComfyUI's own classes make them; a ``#`` in a name
stands for the numbers in the ranges behind its shape. Those of autoencoders begin with ``vae_``.
"""

from __future__ import annotations

import gzip
import json
import math
from functools import cache
from pathlib import Path

from bmerge.formats import TensorInfo

__all__ = ["LAYOUTS", "shapes_of", "table_of"]

DATA = Path(__file__).parent / "data" / "comfyui_layouts.json.gz"
LAYOUTS = json.loads(gzip.decompress(DATA.read_bytes()))


@cache
def shapes_of(name):
    """Return name → shape of the tensors of a model."""
    found = {}
    for key, shape, *ranges in LAYOUTS[name]:
        numbers = (i for first, last in (ranges or [[]])[0] for i in range(first, last + 1))
        names = [key.replace("#", str(i), 1) for i in numbers] if ranges else [key]
        found |= dict.fromkeys(names, tuple(shape))
    return found


def table_of(shapes, prefix=""):
    """Return a table of contents in BF16, with a prefix before all names."""
    found, offset = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        found[prefix + name] = TensorInfo(prefix + name, "BF16", shape, Path("x"), offset, size)
        offset += size
    return found
