"""What a study file says of one hyperparameter's search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import NoReturn

from bmerge.errors import RecipeError
from bmerge.records import dataclass

__all__ = ["HyperparameterSpace", "Range"]

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class HyperparameterSpace:
    """What a study file says of one hyperparameter.

    Args:
        range: of every block that has no other; None takes the method's search range.
        freeze: value of every block that is named nowhere else; None searches them.
        single: whether those blocks share one value.
        groups: name → blocks (ids or ``FIRST-LAST``) that share one value.
        blocks: block, ``FIRST-LAST`` or group → a frozen value or a range.
        presets: names of presets, or block weights as text, one of which is chosen; nothing else
            is searched then.
        layers: kind of layers → patterns of its keys; each is searched apart in every block.
        log: whether values are searched by their logarithm.
        integer: whether they are whole numbers.
        simplex: whether those of all models sum to 1.
        path: the file, for messages.
        lines: key of ``groups`` or ``blocks`` → line in that file; ``""`` for the whole.
    """

    range: Range | None = None
    freeze: float | None = None
    single: bool = False
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    blocks: Mapping[str, float | Range] = field(default_factory=dict)
    presets: tuple[str, ...] = ()
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    log: bool = False
    integer: bool = False
    simplex: bool = False
    path: Path | None = None
    lines: Mapping[str, int] = field(default_factory=dict)

    def fail(self, key: str, message: str, *, hint: str | None = None) -> NoReturn:
        """Raise a RecipeError at the line of ``key``."""
        line = self.lines.get(key, self.lines.get(""))
        raise RecipeError(message, path=self.path, line=line, hint=hint)
