"""distribution_crossover: one model where values change slowly, another where fast."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge import MergeMethod, hookimpl, ops, tensor_method
from bmerge_plugins.methods._common import Share


@tensor_method
def distribution_crossover(
    a: ops.Tensor, b: ops.Tensor, c: ops.Tensor, *, alpha: Share = 0.5, beta: Share = 0.0
) -> ops.Tensor:
    """Cross over from a to b in the frequencies of their values, taken in the order of c's.

    Formula: order all elements by c; A, B = rfft of a and b in that order; f_i = i / number of
        frequencies; g = clip((f - alpha) / beta + 1/2, 0, 1), or f >= alpha where beta is 0;
        irfft((1 - g) * A + g * B), put back in place; one element: alpha * a + (1 - alpha) * b

    What a and b have along the size of c's weights comes from a where it changes slowly and
    from b where it changes fast.

    Args:
        a: whose low frequencies are kept.
        b: whose high frequencies are taken.
        c: whose values give the order.
        alpha: where to cross over; 1 is a.
        beta: width of the transition.

    Source: distribution_crossover of sd-meh.
    """
    import torch

    if a.numel() == 1:
        return alpha * a + (1 - alpha) * b
    order = c.flatten().argsort(stable=True)
    one, other = (torch.fft.rfft(x.flatten()[order]) for x in (a, b))
    frequency = torch.arange(one.numel(), device=a.device) / one.numel()
    if beta > 1e-10:
        share = ((frequency - alpha) / beta + 0.5).clip(0, 1)
    else:
        share = (frequency >= alpha).float()
    mixed = torch.fft.irfft((1 - share) * one + share * other, a.numel())
    return torch.empty_like(mixed).scatter_(0, order, mixed).reshape(a.shape)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [distribution_crossover]
