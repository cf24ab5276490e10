"""The demo's text encoder: CLIP ViT-L/14's text model in miniature, key for key.

Twelve layers with a causal mask, as SD1's; the keys are those of transformers' ``CLIPTextModel``,
197 in all with ``position_ids``, which SD1 checkpoints carry as an int64 tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bmerge_plugins.demo.words import CONTEXT_LENGTH, VOCABULARY

WIDTH = 32
LAYERS = 12
HEADS = 2


class Embeddings(nn.Module):
    """Tokens and their places."""

    position_ids: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(len(VOCABULARY), WIDTH)
        self.position_embedding = nn.Embedding(CONTEXT_LENGTH, WIDTH)
        self.register_buffer("position_ids", torch.arange(CONTEXT_LENGTH)[None])

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ids [n, positions] to [n, positions, width]."""
        result: Tensor = self.token_embedding(tokens) + self.position_embedding(self.position_ids)
        return result


class SelfAttention(nn.Module):
    """Causal attention: a token sees what stands before it."""

    def __init__(self) -> None:
        super().__init__()
        self.k_proj = nn.Linear(WIDTH, WIDTH)
        self.v_proj = nn.Linear(WIDTH, WIDTH)
        self.q_proj = nn.Linear(WIDTH, WIDTH)
        self.out_proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, positions, width] to the same shape."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (f(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for f in projections)
        h = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        result: Tensor = self.out_proj(h.transpose(1, 2).flatten(2))
        return result


class TextFeedForward(nn.Module):
    """Two linear layers with CLIP's quick GELU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, 4 * WIDTH)
        self.fc2 = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, positions, width] to the same shape."""
        h = self.fc1(x)
        result: Tensor = self.fc2(h * torch.sigmoid(1.702 * h))
        return result


class Layer(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = SelfAttention()
        self.layer_norm1 = nn.LayerNorm(WIDTH)
        self.mlp = TextFeedForward()
        self.layer_norm2 = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, positions, width] to the same shape."""
        x = x + self.self_attn(self.layer_norm1(x))
        result: Tensor = x + self.mlp(self.layer_norm2(x))
        return result


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers in turn."""
        for layer in self.layers:
            x = layer(x)
        return x


class TextModel(nn.Module):
    """Token ids [n, positions] to hidden states [n, positions, width]."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = Embeddings()
        self.encoder = Encoder()
        self.final_layer_norm = nn.LayerNorm(WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode token ids."""
        result: Tensor = self.final_layer_norm(self.encoder(self.embeddings(tokens)))
        return result
