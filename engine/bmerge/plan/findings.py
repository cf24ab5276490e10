"""What is found while a plan is made that the user should know."""

from __future__ import annotations

from dataclasses import field

from bmerge.plan.wider import Widths
from bmerge.records import dataclass

__all__ = ["Findings"]


@dataclass(slots=True)
class Findings:
    """What is to be told when all tensors have been looked at.

    Args:
        missing: (what lacks keys, what they are taken from) → the keys.
        lacking: (a pick, what a part comes from, the part, what the rest is) → weights of the part
            that only the rest has.
        unlike: (what floats are taken from that are none elsewhere, their dtype there) → the keys.
        merged: names of the steps that merge some key.
        unmerged: names of those that leave some key of floats as it is.
        kept: (what others than floats are taken from that differ elsewhere, their dtype) → the
            keys.
        excluded: what the keys are kept from that the recipe excludes → these.
        pruned: keys that only training needs; None if they are not asked for.
        widths: which models have more input channels than others.
    """

    missing: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    lacking: dict[tuple[str, str, str, str], list[str]] = field(default_factory=dict)
    unlike: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    merged: set[str] = field(default_factory=set)
    unmerged: set[str] = field(default_factory=set)
    kept: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    excluded: dict[str, list[str]] = field(default_factory=dict)
    pruned: list[str] | None = None
    widths: Widths = field(default_factory=Widths)
