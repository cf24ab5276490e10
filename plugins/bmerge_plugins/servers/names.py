"""Models of a server that a study has put there: known by their names.

:func:`bmerge.fresh_name` makes these, :func:`bmerge.remove_left_over` removes those of killed runs.
"""

from __future__ import annotations

import re

__all__ = ["is_ours"]

_OURS = re.compile(r"bmerge-[0-9a-f]{6}-\d+-[0-9a-f]{12}\.\w+")


def is_ours(name: str) -> bool:
    """Tell whether a model's name, which may have folders, was made by `fresh_name`."""
    return _OURS.fullmatch(name.replace("\\", "/").rpartition("/")[2]) is not None
