"""A model's tensors in other layouts than its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping

from bmerge.formats.checkpoint import Tensor
from bmerge.formats.layouts.pair import LayoutPair, Tensors, pairs

__all__ = ["are_alike", "in_layout", "kept_apart", "layout_of", "other_layouts"]


def other_layouts(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensors]]:
    """Yield a part of a model in each other layout that is known of it, with the layout's name.

    Args:
        tensors: by their names in the part.
    """
    seen = {frozenset(tensors)}
    pending: deque[tuple[Mapping[str, Tensor], LayoutPair | None]] = deque([(tensors, None)])
    while pending:
        known, made_by = pending.popleft()
        for pair in pairs():
            side = None if pair is made_by else pair.side_of(known)
            converted = None if side is None else pair.converted(known, 1 - side)
            if side is None or converted is None or frozenset(converted) in seen:
                continue
            seen.add(frozenset(converted))
            pending.append((converted, pair))
            yield pair.layouts[1 - side], converted


def are_alike(names: Collection[str], others: Collection[str]) -> bool:
    """Tell whether two parts are in the same layout, as far as any is known of them."""
    return all(pair.side_of(names) == pair.side_of(others) for pair in pairs())


def layout_of(names: Collection[str]) -> str | None:
    """Return what the layout of a part is called; None if only one is known of such a part.

    Args:
        names: of its tensors; of a mapping, the values have their shapes.
    """
    found = ((pair, pair.side_of(names)) for pair in pairs())
    return next((pair.layouts[side] for pair, side in found if side is not None), None)


def in_layout(tensors: Mapping[str, Tensor], layout: str) -> Tensors | None:
    """Return a part of a model in the layout of a name; None if no such one is known of it.

    Args:
        tensors: by their names in the part.
        layout: one of :data:`bmerge.formats.LAYOUTS`.
    """
    sides = ((pair, pair.side_of(tensors)) for pair in pairs())
    if any(side is not None and pair.layouts[side] == layout for pair, side in sides):
        return dict(tensors)
    return next((found for name, found in other_layouts(tensors) if name == layout), None)


def kept_apart(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return names that belong to a part in its layout, and that another has in a file apart.

    Args:
        tensors: by their names in the part; what is among them is not missing.
    """
    found = ((pair, pair.side_of(tensors)) for pair in pairs())
    names = (pair.apart(side) for pair, side in found if side is not None)
    return tuple(name for each in names for name in each if name not in tensors)
