"""Layouts of models as data: which tensor of one is made of which of another.

Each file here is of one kind of model in two layouts, see :mod:`.rules` for the notation.
"""

from __future__ import annotations

from bmerge.formats.layouts.views import (
    are_alike,
    in_layout,
    kept_apart,
    layout_of,
    other_layouts,
)

__all__ = ["are_alike", "in_layout", "kept_apart", "layout_of", "other_layouts"]
