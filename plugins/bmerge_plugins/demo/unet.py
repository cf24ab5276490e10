"""The demo's denoiser: SD1's UNet in miniature, module for module and key for key.

The structure is LDM's ``openaimodel.UNetModel`` as SD1 configures it: four levels, two residual
blocks each, transformers on the first three, one in the middle.  The widths differ from level to
level exactly where SD1's do, so even the list of ``skip_connection`` keys is SD1's: 686 in all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bmerge_plugins.demo.unet_layers import Downsample, ResBlock, SpatialTransformer, Upsample, norm

WIDTHS = (32, 48, 32, 32)
TIME_WIDTH = 4 * WIDTHS[0]
BLOCKS_PER_LEVEL = 2
ATTENTION_LEVELS = 3


class Stage(nn.ModuleList):
    """One input, middle or output block: layers that differ in what they listen to."""

    def forward(self, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        """Apply the layers in turn, each with what it listens to."""
        for layer in self:
            if isinstance(layer, ResBlock):
                x = layer(x, time)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, text)
            else:
                x = layer(x)
        return x


def _block(inputs: int, level: int, text_width: int) -> list[nn.Module]:
    layers: list[nn.Module] = [ResBlock(inputs, WIDTHS[level], TIME_WIDTH)]
    if level < ATTENTION_LEVELS:
        layers.append(SpatialTransformer(WIDTHS[level], text_width))
    return layers


def _input_blocks(channels: int, text_width: int) -> tuple[nn.ModuleList, list[int]]:
    """Return the way down and the width that each of its blocks hands across."""
    stages = [Stage([nn.Conv2d(channels, WIDTHS[0], 3, padding=1)])]
    widths = [WIDTHS[0]]
    for level, width in enumerate(WIDTHS):
        for _ in range(BLOCKS_PER_LEVEL):
            stages.append(Stage(_block(widths[-1], level, text_width)))
            widths.append(width)
        if level < len(WIDTHS) - 1:
            stages.append(Stage([Downsample(width)]))
            widths.append(width)
    return nn.ModuleList(stages), widths


def _output_blocks(skips: list[int], text_width: int) -> nn.ModuleList:
    """Return the way up; every block first takes in what the way down handed across."""
    stages = []
    current, skips = skips[-1], list(skips)
    for level in reversed(range(len(WIDTHS))):
        for index in range(BLOCKS_PER_LEVEL + 1):
            layers = _block(current + skips.pop(), level, text_width)
            current = WIDTHS[level]
            if level and index == BLOCKS_PER_LEVEL:
                layers.append(Upsample(current))
            stages.append(Stage(layers))
    return nn.ModuleList(stages)


class UNet(nn.Module):
    """Predict the velocity of noisy latents."""

    def __init__(self, channels: int, text_width: int) -> None:
        super().__init__()
        self.time_embed = nn.Sequential(
            nn.Linear(WIDTHS[0], TIME_WIDTH), nn.SiLU(), nn.Linear(TIME_WIDTH, TIME_WIDTH)
        )
        self.input_blocks, skips = _input_blocks(channels, text_width)
        bottom = WIDTHS[-1]
        self.middle_block = Stage(
            [
                ResBlock(bottom, bottom, TIME_WIDTH),
                SpatialTransformer(bottom, text_width),
                ResBlock(bottom, bottom, TIME_WIDTH),
            ]
        )
        self.output_blocks = _output_blocks(skips, text_width)
        self.out = nn.Sequential(
            norm(WIDTHS[0]), nn.SiLU(), nn.Conv2d(WIDTHS[0], channels, 3, padding=1)
        )

    def forward(self, x: Tensor, steps: Tensor, text: Tensor) -> Tensor:
        """Return the velocity.

        Args:
            x: noisy latents, [n, 4, h, w] with h and w divisible by 8.
            steps: noise steps, [n], 0 (clean) to 999 (pure noise).
            text: hidden states of the text encoder, [n, positions, text width].
        """
        time = self.time_embed(sinusoids(steps, WIDTHS[0]))
        kept = []
        for stage in self.input_blocks:
            x = stage(x, time, text)
            kept.append(x)
        x = self.middle_block(x, time, text)
        for stage in self.output_blocks:
            x = stage(torch.cat([x, kept.pop()], dim=1), time, text)
        result: Tensor = self.out(x)
        return result


def sinusoids(steps: Tensor, width: int) -> Tensor:
    """Return LDM's time embedding: cosines, then sines, of falling frequency; [n, width]."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=steps.device) * (-math.log(10000) / half))
    angles = steps.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)
