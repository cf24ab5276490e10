"""multiply_quotient: a difference in logarithms, where two models went opposite ways."""

from __future__ import annotations

import math
from collections.abc import Iterable

from bmerge import MergeMethod, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import quotient


@merge_method
def multiply_quotient(
    a: ops.Tensor, b: ops.Tensor, c: ops.Tensor, *, alpha: Weight = 1.0
) -> ops.Tensor:
    """Multiply a by b / c where b scaled its weights the other way than a.

    Formula: the real part of a * (b / c)^p, with p = alpha * max(0, -x * y / max(|x|, |y|)^2),
        x = ln|a| - ln|c|, y = ln|b| - ln|c|; a where any of the three is 0

    add_strict_opposite in ratios instead of differences: it undoes growth and shrinkage.

    Args:
        a: model that is changed, trained from c.
        b: model that was trained from c.
        c: their base.
        alpha: how much of the quotient.

    Source: multiply_quotient of sd-mecha.
    """
    zero = (a == 0) | (b == 0) | (c == 0)
    one = [ops.where(zero, 1.0, x) for x in (a, b, c)]
    log_c = ops.log(ops.abs(one[2]))
    x, y = ops.log(ops.abs(one[0])) - log_c, ops.log(ops.abs(one[1])) - log_c
    larger = ops.maximum(ops.abs(x), ops.abs(y))
    power = alpha * ops.maximum(-quotient(x, larger) * quotient(y, larger), 0.0)
    ratio = one[1] / one[2]
    sign = ops.where(ratio < 0, ops.cos(math.pi * power), 1.0)
    return ops.where(zero, a, a * (sign * ops.abs(ratio) ** power))


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the method."""
    return [multiply_quotient]
