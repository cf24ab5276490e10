"""The names of a text encoder's layers in transformers, made from those of OpenCLIP.

OpenCLIP (SDXL's second encoder, SD2's only one) keeps the weights of queries, keys and values in
one tensor, one after the other, and its projection as the transpose of a linear layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

__all__ = ["text_names"]

_INNER = {
    "attn.out_proj": "self_attn.out_proj", "ln_1": "layer_norm1", "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2",
}  # fmt: skip
_OUTSIDE = {
    "token_embedding": "embeddings.token_embedding",
    "positional_embedding": "embeddings.position_embedding", "ln_final": "final_layer_norm",
}  # fmt: skip
_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)", re.DOTALL)


def text_names(
    stem: str, shape: Sequence[int], *, bare: bool
) -> Iterator[tuple[str, tuple[int, int] | None, Literal["", "transposed"]]]:
    """Yield the names in transformers of a layer of OpenCLIP, with the rows that are meant.

    Args:
        stem: the layer's path in the text encoder.
        shape: of its tensor.
        bare: whether the tensor's own name ends there, without ``.weight``.
    """
    if stem == "text_projection" and bare:
        yield "text_projection", None, "transposed"
    elif stem in _OUTSIDE:
        yield _OUTSIDE[stem], None, ""
    elif found := _BLOCK.fullmatch(stem):
        layer = f"encoder.layers.{found[1]}"
        if found[2] in _INNER:
            yield f"{layer}.{_INNER[found[2]]}", None, ""
        elif found[2] == "attn.in_proj":
            width = shape[0] // 3
            for index, name in enumerate("qkv"):
                rows = (index * width, (index + 1) * width)
                yield f"{layer}.self_attn.{name}_proj", rows, ""
