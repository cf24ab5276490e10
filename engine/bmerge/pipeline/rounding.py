"""How much of what a merge changes is lost by rounding, told where it is most of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from bmerge.errors import counted
from bmerge.executors import Rounded

__all__ = ["rounding_warnings"]

_LARGEST = {"F8_E4M3": 448, "F8_E5M2": 57344}
_MOST = 0.5
_NOISE = 1e-12
"""Of a tensor's energy: a change below it is what float32 leaves of equal models."""


def rounding_warnings(rounded: Iterable[Rounded]) -> Iterator[str]:
    """Yield one line about the number format in which most of a merge is lost, if there is one.

    Args:
        rounded: what executors saw in their samples.
    """
    rounded = list(rounded)
    yield from _beyond(rounded)
    sums: dict[str, tuple[float, float]] = {}
    for each in rounded:
        if math.isfinite(each.size + each.arrived) and each.change > _NOISE * each.size:
            change, arrived = sums.get(each.dtype, (0.0, 0.0))
            sums[each.dtype] = change + each.change, arrived + each.arrived
    shares = {dtype: arrived / change for dtype, (change, arrived) in sums.items()}
    worst = min(shares, key=shares.__getitem__, default=None)
    if worst is not None and shares[worst] < _MOST:
        share = 100 * max(0.0, shares[worst])
        limited = any(each.beyond for each in rounded if each.dtype == worst)
        remedy = "quantised weights keep it" if limited else "'--rounding stochastic' keeps it"
        yield (
            f"rounding to {worst} loses most of what the merge changes, {share:.2g} % of it "
            f"arrives: {remedy}"
        )


def _beyond(rounded: Sequence[Rounded]) -> Iterator[str]:
    """Yield a line about each 8-bit format whose largest number is not large enough."""
    for dtype, largest in _LARGEST.items():
        beyond = [each.beyond for each in rounded if each.dtype == dtype and each.beyond]
        if beyond:
            where = counted(len(beyond), "tensor")
            yield (
                f"{100 * max(beyond):.2g} % of the values of a tensor are beyond {largest}, the "
                f"largest of {dtype}, and became that (in {where} of those that were looked at): "
                "'--quantise fp8_scaled' has scales"
            )
