"""The network of ImageReward: BLIP's vision transformer, and BERT that looks at the picture.

All sizes are read from the weights; every attention head is 64 wide, as in all models of this
family. Tensors have the names of the published file, so a module here is a place in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Blip"]

_HEAD = 64
_VISION, _TEXT = "visual_encoder.", "text_encoder."


class Blip:
    """Both encoders.

    Args:
        tensors: by their names below ``blip.``.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self._vision_layers = _count(tensors, f"{_VISION}blocks.")
        self._text_layers = _count(tensors, f"{_TEXT}encoder.layer.")

    @property
    def side(self) -> int:
        """Width and height of the pictures that it takes, in pixels."""
        patches = self._tensors[f"{_VISION}pos_embed"].shape[1] - 1
        patch = self._tensors[f"{_VISION}patch_embed.proj.weight"].shape[-1]
        return int(round(patches**0.5) * patch)

    def check(self) -> None:
        """Run once without numbers, so that whatever is missing or misshapen is found now.

        Raises:
            KeyError: if a tensor is missing.
            RuntimeError: if one has another shape than it must have.
        """
        shapes = Blip({name: tensor.to("meta") for name, tensor in self._tensors.items()})
        pixels = torch.empty(1, 3, self.side, self.side, dtype=self._dtype, device="meta")
        tokens = torch.empty(1, 2, dtype=torch.long, device="meta")
        shapes.texts(tokens, tokens.bool(), shapes.pictures(pixels))

    @property
    def _dtype(self) -> torch.dtype:
        return self._tensors[f"{_VISION}pos_embed"].dtype

    def pictures(self, pixels: Tensor) -> Tensor:
        """Return n × (1 + patches) × width for n × 3 × side × side."""
        weight = self._tensors[f"{_VISION}patch_embed.proj.weight"]
        bias = self._tensors[f"{_VISION}patch_embed.proj.bias"]
        x = functional.conv2d(pixels, weight, bias, stride=weight.shape[-1]).flatten(2).mT
        first = self._tensors[f"{_VISION}cls_token"].expand(len(x), -1, -1)
        x = torch.cat([first, x], dim=1) + self._tensors[f"{_VISION}pos_embed"]
        for number in range(self._vision_layers):
            x = self._block(x, f"{_VISION}blocks.{number}.")
        return self._norm(x, f"{_VISION}norm", 1e-6)

    def texts(self, tokens: Tensor, mask: Tensor, pictures: Tensor) -> Tensor:
        """Return the first token's vector of each text, each seen with its picture.

        Args:
            tokens: n × length, ids.
            mask: n × length, True where there is a token.
            pictures: from :meth:`pictures`.
        """
        words = functional.embedding(
            tokens, self._tensors[f"{_TEXT}embeddings.word_embeddings.weight"]
        )
        places = self._tensors[f"{_TEXT}embeddings.position_embeddings.weight"]
        x = self._norm(words + places[: tokens.shape[1]], f"{_TEXT}embeddings.LayerNorm", 1e-12)
        seen = mask[:, None, None, :]
        for number in range(self._text_layers):
            layer = f"{_TEXT}encoder.layer.{number}."
            x = self._attend(x, x, f"{layer}attention.", seen)
            x = self._attend(x, pictures, f"{layer}crossattention.", None)
            inner = functional.gelu(self._linear(x, f"{layer}intermediate.dense"))
            x = self._norm(
                self._linear(inner, f"{layer}output.dense") + x, f"{layer}output.LayerNorm", 1e-12
            )
        return x[:, 0]

    def _block(self, x: Tensor, name: str) -> Tensor:
        """Apply one layer of the vision transformer."""
        q, k, v = self._linear(self._norm(x, f"{name}norm1", 1e-6), f"{name}attn.qkv").chunk(3, -1)
        x = x + self._linear(_attention(q, k, v, None), f"{name}attn.proj")
        inner = self._linear(self._norm(x, f"{name}norm2", 1e-6), f"{name}mlp.fc1")
        return x + self._linear(functional.gelu(inner), f"{name}mlp.fc2")

    def _attend(self, x: Tensor, other: Tensor, name: str, mask: Tensor | None) -> Tensor:
        """Let ``x`` look at ``other``, add and normalise."""
        query = self._linear(x, f"{name}self.query")
        key, value = (self._linear(other, f"{name}self.{part}") for part in ("key", "value"))
        seen = self._linear(_attention(query, key, value, mask), f"{name}output.dense")
        return self._norm(seen + x, f"{name}output.LayerNorm", 1e-12)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str, epsilon: float) -> Tensor:
        weight, bias = self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]
        return functional.layer_norm(x, weight.shape, weight, bias, epsilon)


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(q k / √64) v, head by head."""
    q, k, v = (x.reshape(*x.shape[:2], -1, _HEAD).transpose(1, 2) for x in (query, key, value))
    return functional.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return len({name[len(prefix) :].split(".")[0] for name in tensors if name.startswith(prefix)})
