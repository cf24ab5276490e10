"""What rules do to tensors, from one side to the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bmerge.formats.checkpoint import Tensor
from bmerge.formats.composed import joined, renamed, reshaped, rows_of
from bmerge.formats.layouts.rules import LayoutRule
from bmerge.formats.transposed import transposed

__all__ = ["moved"]

_PIXEL = {"matrix": (1, 1), "matrix 3D": (1, 1, 1)}
"""What is done → the last extents of a convolution of one pixel, which is a matrix."""


def moved(
    parts: Sequence[Tensor], rule: LayoutRule, names: Sequence[str], side: int
) -> list[Tensor] | None:
    """Return what tensors are on the other side of a rule.

    Args:
        parts: all of one side.
        rule: that is for them.
        names: of those on the other side.
        side: the other one; 0 for the left.

    Returns:
        None if their shapes are not such as the rule takes.
    """
    if len(parts) > 1:
        return _joined(parts, names[0])
    if len(names) > 1:
        return _cut(parts[0], rule, names)
    shaped = _on_right(parts[0], rule) if side else _on_left(parts[0], rule)
    found = None if shaped is None else _one(shaped, rule, names[0])
    return None if found is None else [found]


def _joined(parts: Sequence[Tensor], name: str) -> list[Tensor] | None:
    shapes = {part.shape[1:] for part in parts}
    return [joined(parts, name)] if len(shapes) == 1 and all(p.shape for p in parts) else None


def _cut(tensor: Tensor, rule: LayoutRule, names: Sequence[str]) -> list[Tensor] | None:
    ends = _ends(tensor, rule.shares)
    if ends is None:
        return None
    cuts = zip(names, (0, *ends), ends, strict=False)
    return [rows_of(tensor, name, begin, end) for name, begin, end in cuts]


def _on_right(tensor: Tensor, rule: LayoutRule) -> Tensor | None:
    """Return a tensor of the left in the shape that it has on the right, if it can have it."""
    if rule.rows:
        if len(tensor.shape) != 1 or tensor.shape[0] % rule.rows:
            return None
        return reshaped(tensor, (rule.rows, tensor.shape[0] // rule.rows))
    if rule.how in _PIXEL and tensor.shape[2:] == _PIXEL[rule.how]:
        return reshaped(tensor, tensor.shape[:2])
    if rule.how == "vector" and tensor.shape == (1, tensor.numel, 1, 1):
        return reshaped(tensor, (tensor.numel,))
    return tensor


def _on_left(tensor: Tensor, rule: LayoutRule) -> Tensor:
    """Return a tensor of the right in the shape that it has on the left."""
    if rule.rows:
        return reshaped(tensor, (math.prod(tensor.shape),))
    if rule.how in _PIXEL and len(tensor.shape) == 2:
        return reshaped(tensor, (*tensor.shape, *_PIXEL[rule.how]))
    if rule.how == "vector" and len(tensor.shape) == 1:
        return reshaped(tensor, (1, tensor.numel, 1, 1))
    return tensor


def _one(tensor: Tensor, rule: LayoutRule, name: str) -> Tensor | None:
    """Return a tensor by another name, turned as its rule says; the way back is the same."""
    if rule.how == "halves swapped":
        ends = _ends(tensor, (1, 1))
        if ends is None:
            return None
        halves = rows_of(tensor, name, ends[0], ends[1]), rows_of(tensor, name, 0, ends[0])
        return joined(halves, name)
    if rule.how == "transposed":
        return transposed(tensor, name) if len(tensor.shape) == 2 else None
    return renamed(tensor, name)


def _ends(tensor: Tensor, shares: Sequence[int]) -> list[int] | None:
    """Return where each part of a tensor ends; None if it cannot be cut so."""
    whole = sum(shares)
    if not tensor.shape or tensor.shape[0] % whole:
        return None
    unit = tensor.shape[0] // whole
    return [unit * sum(shares[: count + 1]) for count in range(len(shares))]
