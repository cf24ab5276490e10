"""The settings that a picture may have in a study file, and how each is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from bmerge.recipe.document import Node
from bmerge.records import dataclass

__all__ = [
    "MOST_PICTURES",
    "SETTINGS",
    "Draft",
    "combined",
    "read_count",
    "read_seed",
    "read_seeds",
    "read_settings",
]

MOST_PICTURES = 100_000
"""Of one trial: each costs a kilobyte before anything is painted."""
_GREATEST = 1e6  # of weights: sums of scores by greater ones might overflow


@dataclass(frozen=True, slots=True)
class Draft:
    """A prompt as one of its sources has it, before the study's defaults.

    Args:
        place: where it stands, for messages.
        prompt: its text.
        settings: what it says besides.
        seeds: its own; None stands for the study's.
        count: pictures with consecutive seeds from the study's first one, where it has none.
        literal: whether wildcards in it mean nothing.
    """

    place: Node
    prompt: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    count: int | None = None
    literal: bool = False


def read_seed(node: Node) -> int:
    """Read one seed.

    Raises:
        RecipeError: if it is none.
    """
    seed = node.integer(least=0)
    if seed >= 2**32:
        raise node.error(f"a seed must be below 2**32, not {seed}")
    return seed


def read_seeds(node: Node) -> tuple[int, ...]:
    """Read a list of seeds, or ``{start, count}``.

    Raises:
        RecipeError: if there are none, or one twice.
    """
    if isinstance(node.value, dict):
        seeds = _run_of_seeds(node)
    else:
        seeds = tuple(read_seed(item) for item in node.sequence())
    if not seeds:
        raise node.error("seeds must hold at least one")
    seen: set[int] = set()
    for seed in seeds:
        if seed in seen:
            raise node.error(f"seeds holds {seed} twice")
        seen.add(seed)
    return seeds


def _run_of_seeds(node: Node) -> tuple[int, ...]:
    keys = node.mapping(("start", "count"))
    for key in ("start", "count"):
        if key not in keys:
            raise node.error(f"seeds needs the key {key!r}")
    start = read_seed(keys["start"])
    return tuple(range(start, start + read_count(keys["count"])))


def read_count(node: Node, times: int = 1) -> int:
    """Read how many pictures there are of something.

    Args:
        node: a whole number.
        times: what else that is multiplied by.

    Returns:
        The product.

    Raises:
        RecipeError: if it is none, or more than a trial can have.
    """
    count = times * _positive(node)
    if count > MOST_PICTURES:
        raise node.error(f"{count} are more than the {MOST_PICTURES} pictures of a trial")
    return count


def _weight(node: Node) -> float:
    weight = node.number()
    if not 0 <= weight <= _GREATEST:
        raise node.error(f"a weight must be between 0 and {_GREATEST:g}, not {weight:g}")
    return weight


def _positive(node: Node) -> int:
    return node.integer(least=1)


SETTINGS: Mapping[str, Callable[[Node], Any]] = {
    "negative_prompt": Node.text,
    "steps": _positive,
    "cfg": Node.number,
    "width": _positive,
    "height": _positive,
    "sampler": Node.text,
    "weight": _weight,
    "tags": Node.texts,
    "extra": lambda node: {key: entry.plain() for key, entry in node.mapping().items()},
}
"""Setting → how it is read."""


def read_settings(keys: Mapping[str, Node]) -> dict[str, Any]:
    """Read the settings among some keys; others are left alone.

    Raises:
        RecipeError: if one has a wrong value.
    """
    return {
        key: read(keys[key])
        for key, read in SETTINGS.items()
        if key in keys and keys[key].value is not None
    }


def combined(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Lay settings over each other; of ``extra``, each entry by itself."""
    whole: dict[str, Any] = {}
    for layer in layers:
        extra = {**whole.get("extra", {}), **layer.get("extra", {})}
        whole = {**whole, **layer, "extra": extra}
    return whole
