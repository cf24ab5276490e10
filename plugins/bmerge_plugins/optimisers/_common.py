"""What the built-in optimisers share."""

from __future__ import annotations

from bmerge import ParameterKind

__all__ = ["ALL_KINDS"]

ALL_KINDS: tuple[ParameterKind, ...] = ("float", "log", "integer", "categorical", "simplex")
"""What an optimiser takes that sees a space as :class:`bmerge.Cube`."""
