"""nearswap: another model's weights where they are near."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from bmerge import MergeMethod, Range, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import lerp


@merge_method
def nearswap(
    a: ops.Tensor, b: ops.Tensor, *, t: Annotated[float, Range(0, 0.01, minimum=0)] = 0.0001
) -> ops.Tensor:
    """Move a towards b by at most t, so that weights that are near become b's.

    Formula: (1 - w) * a + w * b, with w = min(t / max(|a - b|, 1e-6), 1)

    Flavours a with b without touching what makes a different.

    Args:
        a: model that most comes from.
        b: model that flavours it.
        t: greatest change of a weight.

    Source: nearswap of mergekit; QuartetAnemoi-70B by alchemonaut.
    """
    return lerp(a, b, ops.minimum(t / ops.maximum(ops.abs(a - b), 1e-6), 1.0))


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [nearswap]
