"""The layers of the demo's UNet, named as in LDM's ``openaimodel`` and ``attention`` modules.

Every ``nn.Sequential`` here has the places of the original (``in_layers.2`` is a convolution
because 0 is its normalisation and 1 its activation), since the keys count those places.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

GROUPS = 8


def norm(channels: int, eps: float = 1e-5) -> nn.GroupNorm:
    """Return the UNet's normalisation."""
    return nn.GroupNorm(GROUPS, channels, eps=eps)


def _zeroed(convolution: nn.Conv2d) -> nn.Conv2d:
    """Zero a residual branch's last layer, so that training starts from the identity."""
    nn.init.zeros_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


class ResBlock(nn.Module):
    """A residual block that the time embedding shifts."""

    def __init__(self, inputs: int, outputs: int, time_width: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_width, outputs))
        self.out_layers = nn.Sequential(
            norm(outputs),
            nn.SiLU(),
            nn.Identity(),  # the original's dropout, off in SD1
            _zeroed(nn.Conv2d(outputs, outputs, 3, padding=1)),
        )
        self.skip_connection = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map [n, inputs, h, w] to [n, outputs, h, w], given time [n, time width]."""
        h = self.in_layers(x) + self.emb_layers(time)[:, :, None, None]
        result: Tensor = self.skip_connection(x) + self.out_layers(h)
        return result


class Downsample(nn.Module):
    """Halve the side by a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, c, h, w] to [n, c, h / 2, w / 2]."""
        result: Tensor = self.op(x)
        return result


class Upsample(nn.Module):
    """Double the side, then smooth."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, c, h, w] to [n, c, 2 h, 2 w]."""
        result: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return result


class CrossAttention(nn.Module):
    """Attention with one head; over itself when the context is its own input."""

    def __init__(self, width: int, context_width: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Let x [n, places, width] ask context [n, tokens, context width]."""
        q, k, v = self.to_q(x), self.to_k(context), self.to_v(context)
        result: Tensor = self.to_out(functional.scaled_dot_product_attention(q, k, v))
        return result


class GEGLU(nn.Module):
    """A linear layer gated by the GELU of its other half."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.proj = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs] to [..., outputs]."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        result: Tensor = value * functional.gelu(gate)
        return result


class FeedForward(nn.Module):
    """The transformer block's two linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 4 * width
        self.net = nn.Sequential(GEGLU(width, inner), nn.Identity(), nn.Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., width] to [..., width]."""
        result: Tensor = self.net(x)
        return result


class TransformerBlock(nn.Module):
    """Attention to the picture, attention to the prompt, feed-forward."""

    def __init__(self, width: int, context_width: int) -> None:
        super().__init__()
        self.attn1 = CrossAttention(width, width)
        self.ff = FeedForward(width)
        self.attn2 = CrossAttention(width, context_width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map tokens [n, places, width] to the same shape."""
        h = self.norm1(x)
        x = x + self.attn1(h, h)
        x = x + self.attn2(self.norm2(x), context)
        result: Tensor = x + self.ff(self.norm3(x))
        return result


class SpatialTransformer(nn.Module):
    """A transformer block over the places of a feature map."""

    def __init__(self, width: int, context_width: int) -> None:
        super().__init__()
        self.norm = norm(width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(width, context_width)])
        self.proj_out = _zeroed(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map [n, c, h, w] to the same shape."""
        n, c, h, w = x.shape
        tokens = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        result: Tensor = x + self.proj_out(tokens.transpose(1, 2).reshape(n, c, h, w))
        return result
