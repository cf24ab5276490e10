"""What a study that was begun from another one says of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["FORK", "cut_short", "is_cut_short"]

FORK = "fork"
"""Attribute of a study: the folder of the other one, and number → number there of its trials."""


def cut_short(of: str) -> dict[str, Any]:
    """Return what a fork of a folder says until it has all trials that count."""
    return {FORK: {"of": of, "cut_short": True}}


def is_cut_short(attributes: Mapping[str, Any]) -> bool:
    """Tell whether a study is a fork that was killed before it had all trials that count."""
    return bool(attributes.get(FORK, {}).get("cut_short"))
