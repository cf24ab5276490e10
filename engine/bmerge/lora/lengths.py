"""The lengths that DoRA gives vectors of a changed weight: whose they are."""

from __future__ import annotations

import math

from bmerge.formats import Tensor

__all__ = ["are_of_rows"]


def are_of_rows(info: Tensor, rows: int, columns: int) -> bool | None:
    """Tell whether lengths are those of a weight's rows, or of its columns; None: of neither.

    Args:
        info: the lengths.
        rows: of the changed weight.
        columns: its input channels.
    """
    count = math.prod(info.shape)
    named = info.key.endswith("magnitude_vector")
    if count == rows and (info.shape[0] == rows or rows != columns or named):
        return True
    return False if count == columns else None
