"""slerp, nuslerp, nuslerp_from_base: two models, mixed along a circle."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

from bmerge import Alike, MergeMethod, Weight, hookimpl, merge_method, ops
from bmerge_plugins.methods._common import lerp, quotient

Along: TypeAlias = Literal["tensor", "vectors", "columns"]
"""What has an angle: the whole tensor, each vector of the last dimension, or each of dim 0."""
AXES: dict[str, ops.Axis] = {"tensor": None, "vectors": -1, "columns": 0}

NEARLY_PARALLEL = 0.9995


@merge_method
def slerp(
    a: Alike,
    b: Alike,
    *,
    alpha: Weight = 0.5,
    norms: Literal["keep", "lerp"] = "keep",
) -> Alike:
    """Mix two models along the arc between them instead of the straight line.

    Formula: sin((1 - alpha) * w) / sin(w) * a + sin(alpha * w) / sin(w) * b, with w the angle
        between a and b as vectors of all their elements; a weighted sum where |cos w| > 0.9995

    A straight mix of two unlike models is shorter than both; this one is not. Fine-tunes of one
    base are nearly parallel, for which it is a weighted sum: see nuslerp_from_base.

    Args:
        a: first model.
        b: second model.
        alpha: how far to go from a to b.
        norms: "keep" mixes a and b as they are, as mergekit does; "lerp" mixes their directions
            and gives the result a length between theirs, as sd-mecha does.

    Source: Shoemake, Animating rotation with quaternion curves, 1985; slerp of mergekit (t for
    alpha) and of sd-mecha.
    """
    if norms == "keep":
        return _slerp(a, b, alpha, None, NEARLY_PARALLEL)
    length_a, length_b = ops.vector_norm(a), ops.vector_norm(b)
    directions = _slerp(quotient(a, length_a), quotient(b, length_b), alpha, None, 2.0)
    parallel = ops.abs(_cosine(a, b, None)) > NEARLY_PARALLEL
    arc = directions * lerp(length_a, length_b, alpha)
    return ops.where(parallel, lerp(a, b, alpha), arc)


@merge_method
def nuslerp(a: Alike, b: Alike, *, alpha: Weight = 0.5, along: Along = "tensor") -> Alike:
    """Mix two models along arcs, of the whole tensor or of each of its vectors.

    Formula: as slerp with norms = keep, for nearly parallel models too; with along = vectors or
        columns, each vector of the last or first dimension has an angle of its own

    Args:
        a: first model.
        b: second model.
        alpha: how far to go from a to b.
        along: what has an angle.

    Source: nuslerp of mergekit: alpha is weight_b / (weight_a + weight_b), along is its
    nuslerp_flatten (tensor) and nuslerp_row_wise (columns).
    """
    return _slerp(a, b, alpha, AXES[along], 1 - 1e-7)


@merge_method
def nuslerp_from_base(
    base: Alike,
    a: Alike,
    b: Alike,
    *,
    alpha: Weight = 0.5,
    along: Along = "tensor",
) -> Alike:
    """Mix what two models have learned along arcs around their base.

    Formula: base + nuslerp(a - base, b - base)

    Changes of two fine-tunes are nearly at right angles, so their mean is much weaker than
    either; on the arc they keep their strength.

    Args:
        base: what the models were trained from.
        a: first fine-tune of it.
        b: second fine-tune of it.
        alpha: how far to go from a to b.
        along: what has an angle.

    Source: nuslerp of mergekit with a base model.
    """
    return base + _slerp(a - base, b - base, alpha, AXES[along], 1 - 1e-7)


def _cosine(x: ops.Tensor, y: ops.Tensor, axis: ops.Axis) -> ops.Tensor:
    """Return the cosine of the angle between x and y; 1 if either is all zeros."""
    lengths = ops.vector_norm(x, axis=axis) * ops.vector_norm(y, axis=axis)
    return ops.clip(quotient(ops.vecdot(x, y, axis=axis), lengths, 1.0), -1.0, 1.0)


def _slerp(
    x: ops.Tensor, y: ops.Tensor, t: ops.Tensor, axis: ops.Axis, parallel: float
) -> ops.Tensor:
    """Return the point between x and y; on the line where the cosine is above ``parallel``."""
    cosine = _cosine(x, y, axis)
    angle = ops.acos(cosine)
    straight = (ops.abs(cosine) > parallel) | (ops.sin(angle) == 0)
    sine = ops.where(straight, 1.0, ops.sin(angle))
    x_share = ops.where(straight, 1 - t, ops.sin((1 - t) * angle) / sine)
    y_share = ops.where(straight, t, ops.sin(t * angle) / sine)
    return x_share * x + y_share * y


@hookimpl
def bmerge_merge_methods() -> Iterable[MergeMethod]:
    """Offer the three methods."""
    return [slerp, nuslerp, nuslerp_from_base]
