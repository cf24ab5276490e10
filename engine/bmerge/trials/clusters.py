"""How sure a sum is whose parts hang together in groups.

Its variance is cluster-robust, with the correction that makes it right where nothing hangs
together, and the degrees of freedom that go with it (Bell and McCaffrey 2002, "Bias reduction in
standard errors for linear regression with multi-stage samples").
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence

__all__ = ["certainty"]


def certainty(
    errors: Sequence[float], parts: Sequence[float], groups: Sequence[Hashable]
) -> tuple[float, float]:
    """Return the standard error of a sum and its degrees of freedom.

    It is infinite where there is one group only.

    With e the sum of a group's errors and q its part in the whole, the variance is
    Σ e² / (1 − q), and 1 / freedom is Σ q² + Σ (q r)² / ((1 − q) (1 − r)), the second sum
    over all ordered pairs of groups.

    Args:
        errors: what each part of the sum differs by from what is expected of it.
        parts: of each in the weight of the whole.
        groups: what each hangs together with.
    """
    sums: dict[Hashable, float] = defaultdict(float)
    shares: dict[Hashable, float] = defaultdict(float)
    whole = math.fsum(parts)
    for error, part, group in zip(errors, parts, groups, strict=True):
        if part:
            sums[group] += error
            shares[group] += part / whole
    if len(sums) < 2:
        return math.inf, 1.0
    unit = max(map(abs, sums.values())) or 1.0  # squares of the numbers themselves might overflow
    variance = math.fsum((sums[g] / unit) ** 2 / (1 - shares[g]) for g in sums)
    terms = [q * q / (1 - q) for q in shares.values()]
    pairs = math.fsum(terms) ** 2 - math.fsum(term * term for term in terms)
    return unit * math.sqrt(variance), 1 / (math.fsum(q * q for q in shares.values()) + pairs)
