"""Reading the ``space`` section of a study file."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bmerge.recipe.document import Node
from bmerge.space.layers import KINDS
from bmerge.study_file.space_entry import HyperparameterSpace, Range

__all__ = ["read_range", "read_space"]

_KEYS = (
    "range",
    "freeze",
    "per",
    "groups",
    "blocks",
    "layers",
    "scale",
    "integer",
    "simplex",
    "presets",
)


def read_space(node: Node) -> dict[str, HyperparameterSpace]:
    """Read the section: hyperparameter → what is searched of it.

    Raises:
        RecipeError: for an unknown key or a wrong type, with the line. Whether hyperparameters
            and blocks exist is judged later, when the method and the models are known.
    """
    return {name: _hyperparameter(entry) for name, entry in node.mapping().items()}


def _hyperparameter(node: Node) -> HyperparameterSpace:
    keys = node.mapping(_KEYS)
    if "presets" in keys and len(keys) > 1:
        other = next(key for key in keys if key != "presets")
        raise keys[other].error(f"{node.name} has presets: nothing else can be searched of it")
    groups = keys["groups"].mapping() if "groups" in keys else {}
    blocks = keys["blocks"].mapping() if "blocks" in keys else {}
    return HyperparameterSpace(
        range=read_range(keys["range"]) if "range" in keys else None,
        freeze=_finite(keys["freeze"]) if "freeze" in keys else None,
        single="per" in keys and keys["per"].text(("block", "single")) == "single",
        groups={name: _texts(entry) for name, entry in groups.items()},
        blocks={name: _setting(entry) for name, entry in blocks.items()},
        presets=tuple(item.text() for item in keys["presets"].sequence())
        if "presets" in keys
        else (),
        layers=_layers(keys["layers"]) if "layers" in keys else {},
        log="scale" in keys and keys["scale"].text(("linear", "log")) == "log",
        integer="integer" in keys and keys["integer"].boolean(),
        simplex="simplex" in keys and keys["simplex"].boolean(),
        path=node.path,
        lines={"": node.line} | {key: entry.line for key, entry in (groups | blocks).items()},
    )


def _texts(node: Node) -> tuple[str, ...]:
    """Return one text, or a list of them."""
    if isinstance(node.value, list):
        return tuple(item.text() for item in node.sequence())
    return (node.text(),)


def _layers(node: Node) -> dict[str, tuple[str, ...]]:
    """Return kinds of layers: names of known ones, or names with patterns of their keys."""
    if isinstance(node.value, Mapping):
        return {name: _texts(entry) for name, entry in node.mapping().items()}
    named = {item.text(tuple(KINDS)) for item in node.sequence()}
    return {kind: patterns for kind, patterns in KINDS.items() if kind in named}


def _setting(node: Node) -> float | Range:
    """Return a frozen value or a range."""
    return read_range(node) if isinstance(node.value, list) else _finite(node)


def read_range(node: Node) -> Range:
    """Read ``[low, high]``.

    Raises:
        RecipeError: if it is something else, or low is not below high.
    """
    items = [_finite(item) for item in node.sequence()]
    if len(items) != 2:
        raise node.error(f"{node.name} must be [low, high], not {len(items)} numbers")
    low, high = items
    if low >= high:
        raise node.error(f"{node.name}: low must be below high, not [{low:g}, {high:g}]")
    return low, high


def _finite(node: Node) -> float:
    value = node.number()
    if not math.isfinite(value):
        raise node.error(f"{node.name} must be finite, not {value}")
    return value
