"""The demo's autoencoder: SD1's ``first_stage_model`` in miniature, key for key.

Three levels instead of four, so a latent is a quarter of the picture's side, and one residual
block per level in the encoder; the names are those of the CompVis latent-diffusion code.  Its
latents are shifted and scaled to unit variance inside ``quant_conv`` and ``post_quant_conv``,
so no scale factor has to travel with a checkpoint.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 48)
LATENT_CHANNELS = 4
GROUPS = 8


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)


class ResnetBlock(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = _norm(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = _norm(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, inputs, h, w] to [n, outputs, h, w]."""
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(functional.silu(self.norm2(h)))
        shortcut: Tensor = self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x
        result: Tensor = shortcut + h
        return result


class AttnBlock(nn.Module):
    """Self-attention over all places, written with 1x1 convolutions as in LDM."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the places of [n, c, h, w]."""
        h = self.norm(x)
        q, k, v = (f(h).flatten(2).transpose(1, 2) for f in (self.q, self.k, self.v))
        h = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape_as(x)
        result: Tensor = x + self.proj_out(h)
        return result


class VaeDownsample(nn.Module):
    """Halve the side; the padding is LDM's, below and to the right only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, c, h, w] to [n, c, h / 2, w / 2]."""
        result: Tensor = self.conv(functional.pad(x, (0, 1, 0, 1)))
        return result


class VaeUpsample(nn.Module):
    """Double the side, then smooth."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, c, h, w] to [n, c, 2 h, 2 w]."""
        result: Tensor = self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
        return result


class Level(nn.Module):
    """A resolution's residual blocks, and its change of resolution where it has one."""

    def __init__(self, widths: list[int], resample: tuple[str, nn.Module] | None) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResnetBlock(a, b) for a, b in pairwise(widths))
        self.attn = nn.ModuleList()
        self.resample = resample[0] if resample else ""
        if resample:
            self.add_module(*resample)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the blocks, then the change of resolution."""
        for block in self.block:
            x = block(x)
        return self.get_submodule(self.resample)(x) if self.resample else x


class Middle(nn.Module):
    """Block, attention, block at the lowest resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, channels)
        self.attn_1 = AttnBlock(channels)
        self.block_2 = ResnetBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, c, h, w] to the same shape."""
        result: Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return result


class VaeEncoder(nn.Module):
    """Picture to mean and log variance of the latent."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.conv_in = nn.Conv2d(3, first, 3, padding=1)
        self.down = nn.ModuleList(
            [
                Level([first, first], ("downsample", VaeDownsample(first))),
                Level([first, second], ("downsample", VaeDownsample(second))),
                Level([second, third], None),
            ]
        )
        self.mid = Middle(third)
        self.norm_out = _norm(third)
        self.conv_out = nn.Conv2d(third, 2 * LATENT_CHANNELS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures [n, 3, h, w] to moments [n, 8, h / 4, w / 4]."""
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        result: Tensor = self.conv_out(functional.silu(self.norm_out(self.mid(x))))
        return result


class Decoder(nn.Module):
    """Latent to picture."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.conv_in = nn.Conv2d(LATENT_CHANNELS, third, 3, padding=1)
        self.mid = Middle(third)
        self.up = nn.ModuleList(
            [
                Level([second, first, first], None),
                Level([third, second, second], ("upsample", VaeUpsample(second))),
                Level([third, third, third], ("upsample", VaeUpsample(third))),
            ]
        )
        self.norm_out = _norm(first)
        self.conv_out = nn.Conv2d(first, 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents [n, 4, h, w] to pictures [n, 3, 4 h, 4 w]."""
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
        result: Tensor = self.conv_out(functional.silu(self.norm_out(x)))
        return result


class Autoencoder(nn.Module):
    """Pictures in -1..1, [n, 3, 64, 64], to latents [n, 4, 16, 16] and back."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = VaeEncoder()
        self.decoder = Decoder()
        self.quant_conv = nn.Conv2d(2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS, 1)
        self.post_quant_conv = nn.Conv2d(LATENT_CHANNELS, LATENT_CHANNELS, 1)

    def moments(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the latents."""
        mean, log_variance = self.quant_conv(self.encoder(pictures)).chunk(2, dim=1)
        return mean, log_variance.clamp(-20, 5)

    def encode(self, pictures: Tensor) -> Tensor:
        """Return the mean latents of pictures."""
        return self.moments(pictures)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Return the pictures of latents; values can lie a little outside -1..1."""
        result: Tensor = self.decoder(self.post_quant_conv(latents))
        return result

    @torch.no_grad()
    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Fold the latents' statistics into the two 1x1 convolutions.

        Args:
            mean: per-channel mean of the latents, [4].
            deviation: per-channel standard deviation, [4], above 0.
        """
        n = LATENT_CHANNELS
        before, after = self.quant_conv, self.post_quant_conv
        assert before.bias is not None
        assert after.bias is not None
        after.bias += after.weight[:, :, 0, 0] @ mean
        after.weight *= deviation[None, :, None, None]
        before.bias[:n] = (before.bias[:n] - mean) / deviation
        before.weight[:n] /= deviation[:, None, None, None]
        before.bias[n:] -= 2 * deviation.log()
