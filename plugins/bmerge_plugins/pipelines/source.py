"""Where the values of a pipeline's parameter stand in a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["ParameterSource", "rename"]


@dataclass(frozen=True, slots=True)
class ParameterSource:
    """The tensor of a checkpoint that a parameter's values are in.

    Args:
        key: of the tensor.
        part: position among the parameters that are stacked in one tensor along its first axis.
        form: how they are in there: as they are (perhaps with more axes of length 1),
            transposed, or with the two halves of the first axis swapped.
    """

    key: str
    part: int = 0
    form: Literal["same", "transposed", "swapped"] = "same"


def rename(name: str, rules: Sequence[tuple[str, str]]) -> str:
    """Replace what the first rule that fits matches, a regular expression from the name's start.

    Args:
        name: a parameter's name.
        rules: pairs of expression and replacement.

    Raises:
        KeyError: if no rule fits.
    """
    for pattern, replacement in rules:
        renamed, count = re.subn(rf"^{pattern}", replacement, name)
        if count:
            return renamed
    raise KeyError(name)
