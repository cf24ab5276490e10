"""What rules do to tensors, from the left to the right and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bmerge.formats.checkpoint import Tensor
from bmerge.formats.composed import joined, renamed, reshaped, rows_of
from bmerge.formats.layouts.rules import LayoutRule
from bmerge.formats.transposed import transposed

__all__ = ["moved_left", "moved_right"]

_PIXEL = {"matrix": (1, 1), "matrix 3D": (1, 1, 1)}
"""What is done → the last extents of a convolution of one pixel, which is a matrix."""


def moved_right(
    tensor: Tensor, rule: LayoutRule, names: Sequence[str]
) -> list[tuple[str, Tensor]] | None:
    """Return what a tensor is on the right; None if its shape is not one that the rule takes."""
    if len(names) > 1:
        ends = _ends(tensor, rule.shares)
        if ends is None:
            return None
        cuts = zip(names, (0, *ends), ends, strict=False)
        return [(name, rows_of(tensor, name, begin, end)) for name, begin, end in cuts]
    if rule.rows:
        if len(tensor.shape) != 1 or tensor.shape[0] % rule.rows:
            return None
        tensor = reshaped(tensor, (rule.rows, tensor.shape[0] // rule.rows))
    elif rule.how in _PIXEL and tensor.shape[2:] == _PIXEL[rule.how]:
        tensor = reshaped(tensor, tensor.shape[:2])
    return _one(tensor, rule, names[0])


def moved_left(parts: Sequence[Tensor], rule: LayoutRule, name: str) -> Tensor | None:
    """Return what tensors are on the left; None if their shapes are not those that it takes."""
    if len(parts) > 1:
        shapes = {part.shape[1:] for part in parts}
        return joined(parts, name) if len(shapes) == 1 and all(p.shape for p in parts) else None
    tensor = parts[0]
    if rule.rows:
        tensor = reshaped(tensor, (math.prod(tensor.shape),))
    elif rule.how in _PIXEL and len(tensor.shape) == 2:
        tensor = reshaped(tensor, (*tensor.shape, *_PIXEL[rule.how]))
    found = _one(tensor, rule, name)
    return found[0][1] if found else None


def _one(tensor: Tensor, rule: LayoutRule, name: str) -> list[tuple[str, Tensor]] | None:
    """Return a tensor by another name, turned as its rule says; the way back is the same."""
    if rule.how == "halves swapped":
        ends = _ends(tensor, (1, 1))
        if ends is None:
            return None
        halves = rows_of(tensor, name, ends[0], ends[1]), rows_of(tensor, name, 0, ends[0])
        return [(name, joined(halves, name))]
    if rule.how == "transposed":
        return [(name, transposed(tensor, name))] if len(tensor.shape) == 2 else None
    return [(name, renamed(tensor, name))]


def _ends(tensor: Tensor, shares: Sequence[int]) -> list[int] | None:
    """Return where each part of a tensor ends; None if it cannot be cut so."""
    whole = sum(shares)
    if not tensor.shape or tensor.shape[0] % whole:
        return None
    unit = tensor.shape[0] // whole
    return [unit * sum(shares[: count + 1]) for count in range(len(shares))]
