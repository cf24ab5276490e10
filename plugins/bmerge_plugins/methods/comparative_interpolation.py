"""comparative_interpolation: another model's weights where they are near, or where they are far."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from bmerge import MergeMethod, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import Share, lerp, quotient


@merge_method(aliases=("interpolate_difference",))
def comparative_interpolation(
    a: ops.Tensor,
    b: ops.Tensor,
    *,
    alpha: Share = 0.5,
    gamma: Share = 0.0,
    prefer: Literal["near", "far"] = "near",
) -> ops.Tensor:
    """Take over weights of b at random, those that are near to a's with more probability.

    Formula: (1 - m) * a + m * b, with m = (1 - gamma) * (1 with the probability d, else 0) +
        gamma * d, d = ((max - |a - b|) / max)^(1 / alpha - 1) and max the greatest |a - b| of
        the tensor; a where that is 0; with prefer = far, d = (|a - b| / max)^(1 / alpha - 1)

    Weights are taken whole (gamma 0) or mixed (gamma 1) as they compare to all others.

    Args:
        a: first model.
        b: second model.
        alpha: how many; 1 is b.
        gamma: 0 takes weights at random, 1 mixes them.
        prefer: weights that are near, or far.

    Source: "Comparative interpolation" of untitledmerger (prefer is its beta). Random numbers
    follow from the recipe's seed and the key.
    """
    apart = ops.abs(a - b)
    most = ops.max(apart)
    measure = most - apart if prefer == "near" else apart
    power = 1 / ops.maximum(alpha, 0.001) - 1
    d = ops.where(most == 0, 0.0, quotient(measure, most) ** power)
    taken = ops.where(ops.random_uniform(a) < d, 1.0, 0.0)
    return lerp(a, b, lerp(taken, d, gamma))


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [comparative_interpolation]
