"""Language models whose rows of queries and keys llama.cpp has in another order than all others.

There the two halves of a head, which rotary positions turn against each other, are woven into one
another: of each head row 0 of the first half, row 0 of the second, row 1 of the first. Such a model
is opened with its rows in the usual order, under the names of transformers that go with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bmerge.formats.checkpoint import Tensor
from bmerge.formats.composed import joined, rows_of
from bmerge.formats.gguf_values import GgufError
from bmerge.formats.layouts.pair import pairs as layout_pairs

__all__ = ["WOVEN", "unwoven"]

WOVEN = ("llama", "mistral")
"""Architectures of llama.cpp that have it so."""
_ROWS = re.compile(r"blk\.\d+\.attn_(q|k)\.(?:weight|bias)")
_HEADS, _KEY_HEADS = "attention.head_count", "attention.head_count_kv"


def unwoven(
    architecture: str, tensors: Mapping[str, Tensor], pairs: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Return the tensors of such a model as transformers has them.

    Args:
        architecture: of :data:`WOVEN`.
        tensors: by the names of llama.cpp.
        pairs: of the file's header.

    Raises:
        GgufError: if it does not tell the heads, or there are layers of other kinds.
    """
    heads = pairs.get(f"{architecture}.{_HEADS}")
    counts = {"q": heads, "k": pairs.get(f"{architecture}.{_KEY_HEADS}", heads)}
    ordered = dict(tensors)
    for name, tensor in tensors.items():
        found = _ROWS.fullmatch(name)
        if found is not None:
            ordered[name] = _unwoven(tensor, counts[found[1]])
    pair = next(pair for pair in layout_pairs() if pair.name == "llm_gguf")
    converted = pair.converted(ordered, 0)
    left = next((name for name in converted if name.startswith("blk.")), None)
    if left is not None:
        raise GgufError(f"tensor {left!r} has no name that is known outside of llama.cpp")
    return converted


def _unwoven(tensor: Tensor, heads: object) -> Tensor:
    rows = tensor.shape[0] if tensor.shape else 0
    if type(heads) is not int or heads < 1 or rows % (2 * heads):
        raise GgufError(f"tensor {tensor.key!r} of {rows} rows cannot have {heads!r} heads")
    size = rows // heads
    order = (
        head * size + row
        for head in range(heads)
        for half in (0, 1)
        for row in range(half, size, 2)
    )
    return joined([rows_of(tensor, tensor.key, row, row + 1) for row in order], tensor.key)
