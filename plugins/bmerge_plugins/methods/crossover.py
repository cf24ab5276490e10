"""crossover: low frequencies of one model, high ones of another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

from bmerge import Alike, MergeMethod, Range, hookimpl, ops, tensor_method
from bmerge_plugins.methods._common import Share, lerp

if TYPE_CHECKING:
    import torch


@tensor_method
def crossover(
    a: Alike,
    b: Alike,
    *,
    alpha: Share = 0.5,
    tilt: Annotated[float, Range(0, 1, minimum=0, maximum=4)] = 0.0,
) -> Alike:
    """Cross over from a to b in the spatial frequencies of each tensor.

    Formula: irfftn((1 - F) * rfftn(a) + F * rfftn(b)), with F a filter over m, the root mean
        square of the frequencies along all dimensions, each from 0 to 1; tilt 0: F = m > 1 -
        alpha; tilt 2: F = m < 1 - alpha; tilt 1: F = alpha, a weighted sum; between them a line
        whose slope is cot(pi * tilt / 2), clipped to 0 … 1; above 2 as tilt - 2 with the roles of
        alpha and 1 - alpha exchanged

    What is similar along rows and columns comes from a, detail from b.

    Args:
        a: whose low frequencies are kept.
        b: whose high frequencies are taken.
        alpha: share of the frequencies that come from b.
        tilt: 0 is a sharp limit, 1 a plain weighted sum, 2 takes the low ones from b.

    Source: crossover of sd-mecha.
    """
    import torch

    if alpha in {0, 1}:
        return a if alpha == 0 else b
    if tilt == 1 or a.numel() == 1:
        return lerp(a, b, alpha)
    one, other = torch.fft.rfftn(a), torch.fft.rfftn(b)
    share = _filter(_frequencies(one.shape, a.device), alpha, tilt % 4)
    return torch.fft.irfftn((1 - share) * one + share * other, s=a.shape)


def _frequencies(shape: Sequence[int], device: torch.device) -> ops.Tensor:
    """Return the size of the frequency at each place of a Fourier transform, from 0 to 1."""
    import torch

    last = len(shape) - 1
    squares = torch.zeros(tuple(shape), device=device)
    for dim, n in enumerate(shape):
        if dim == last or n == 1:
            line = torch.linspace(0, 1, n, device=device)
        else:  # the negative frequencies are in the second half
            rising = torch.linspace(0, (n - 1) // 2, n - n // 2, device=device)
            falling = torch.linspace(n // 2, 1, n // 2, device=device)
            line = torch.cat([rising, falling]) / (n // 2)
        squares += (line**2).reshape([-1 if d == dim else 1 for d in range(len(shape))])
    return (squares / len(shape)).sqrt()


def _filter(frequency: ops.Tensor, alpha: float, tilt: float) -> ops.Tensor:
    """Return b's share at each frequency."""
    if tilt > 2:
        return 1 - _filter(frequency, 1 - alpha, tilt - 2)
    if tilt < 1e-10:
        return (frequency > 1 - alpha).float()
    if abs(tilt - 2) < 1e-10:
        return (frequency < 1 - alpha).float()
    slope = 1 / math.tan(math.pi * tilt / 2)
    through = alpha - 1 if tilt <= 1 else -alpha
    return ((frequency + through) * slope + alpha).clip(0, 1)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [crossover]
