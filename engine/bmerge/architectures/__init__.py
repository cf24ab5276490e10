"""Architectures: which block each key of a checkpoint belongs to, as data."""

from __future__ import annotations

from bmerge.architectures.architecture import Architecture, Variant
from bmerge.architectures.detect import detect, resolve
from bmerge.architectures.load import builtin, load_architecture, outlines
from bmerge.architectures.outline import Outline, whole
from bmerge.architectures.rules import Rule

__all__ = [
    "Architecture",
    "Outline",
    "Rule",
    "Variant",
    "builtin",
    "detect",
    "load_architecture",
    "outlines",
    "resolve",
    "whole",
]
