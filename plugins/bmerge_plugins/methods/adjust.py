"""adjust: one model, with tensors scaled and channels shifted; contrast, brightness and colour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeAlias

from bmerge import Alike, MergeMethod, Range, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import total

Shift: TypeAlias = Annotated[float, Range(-0.1, 0.1)]


@merge_method
def adjust(
    a: Alike,
    *,
    scale: Annotated[float, Range(0.9, 1.1)] = 1.0,
    first: Shift = 0.0,
    second: Shift = 0.0,
    third: Shift = 0.0,
    fourth: Shift = 0.0,
) -> Alike:
    """Scale a model's tensors, and shift the first four channels of them.

    Formula: scale * a + shift of the channel, which is first, second, third or fourth for channel
        0, 1, 2 or 3 of dim 0, and 0 for all others

    Meant for single tensors, named by patterns of keys. The bias of the UNet's last layer has a
    channel for each of the latent: shifting it makes all pictures lighter or more of one colour.
    Scaling the weights of the first and last layers down and their biases up smooths pictures, the
    other way round it sharpens them.

    Args:
        a: the model.
        scale: factor.
        first: what is added to channel 0.
        second: what is added to channel 1.
        third: what is added to channel 2.
        fourth: what is added to channel 3.

    Source: "Adjust" of supermerger; docs/other-tools.md says what its eight numbers are here.
    """
    channel = ops.row_index(a)
    shifts = enumerate((first, second, third, fourth))
    return scale * a + total(shift * ops.where(channel == i, 1.0, 0.0) for i, shift in shifts)


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [adjust]
