"""How much of what a merge changes is lost by rounding, told where it is most of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from bmerge.executors import Rounded

__all__ = ["rounding_warnings"]

_MOST = 0.5
_NOISE = 1e-12
"""Of a tensor's energy: a change below it is what float32 leaves of equal models."""


def rounding_warnings(rounded: Iterable[Rounded]) -> Iterator[str]:
    """Yield one line about the number format in which most of a merge is lost, if there is one.

    Args:
        rounded: what executors saw in their samples.
    """
    sums: dict[str, tuple[float, float]] = {}
    for each in rounded:
        if math.isfinite(each.size + each.arrived) and each.change > _NOISE * each.size:
            change, arrived = sums.get(each.dtype, (0.0, 0.0))
            sums[each.dtype] = change + each.change, arrived + each.arrived
    shares = {dtype: arrived / change for dtype, (change, arrived) in sums.items()}
    worst = min(shares, key=shares.__getitem__, default=None)
    if worst is not None and shares[worst] < _MOST:
        share = 100 * max(0.0, shares[worst])
        yield (
            f"rounding to {worst} loses most of what the merge changes, {share:.2g} % of it "
            "arrives: '--rounding stochastic' keeps it"
        )
