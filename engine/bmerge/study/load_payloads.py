"""Reading the ``payloads`` section of a study file: prompts, seeds, shared settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bmerge.evaluate.payloads import Prompt, make_payloads
from bmerge.evaluate.protocols import Payload
from bmerge.recipe.document import Node

__all__ = ["read_payloads"]


def _seed(node: Node) -> int:
    seed = node.integer(least=0)
    if seed >= 2**32:
        raise node.error(f"a seed must be below 2**32, not {seed}")
    return seed


def _weight(node: Node) -> float:
    weight = node.number()
    if not 0 <= weight < float("inf"):
        raise node.error(f"a weight must be 0 or more, not {weight:g}")
    return weight


def _positive(node: Node) -> int:
    return node.integer(least=1)


_SETTINGS: dict[str, Callable[[Node], Any]] = {
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


def read_payloads(node: Node) -> tuple[Payload, ...]:
    """Read the section.

    Raises:
        RecipeError: for an unknown key, a wrong type, no prompt, or only weights of 0.
    """
    keys = node.mapping(("defaults", "seeds", "prompts"))
    defaults = _settings(keys["defaults"].mapping(_SETTINGS)) if "defaults" in keys else {}
    seeds = _seeds(keys["seeds"]) if "seeds" in keys else (0,)
    if "prompts" not in keys:
        raise node.error("payloads needs the key 'prompts'")
    prompts = [_prompt(item, defaults) for item in keys["prompts"].sequence()]
    payloads = make_payloads(prompts, seeds)
    if not any(payload.weight > 0 for payload in payloads):
        raise node.error("payloads must hold at least one prompt with a weight above 0")
    return payloads


def _settings(keys: Mapping[str, Node]) -> dict[str, Any]:
    """Read what prompts and defaults have in common."""
    return {
        key: read(keys[key])
        for key, read in _SETTINGS.items()
        if key in keys and keys[key].value is not None
    }


def _prompt(node: Node, defaults: Mapping[str, Any]) -> Prompt:
    if not isinstance(node.value, dict):
        return Prompt(Payload(id="", prompt=node.text(), **defaults))
    keys = node.mapping(("prompt", "seed", "seeds", *_SETTINGS))
    if "prompt" not in keys:
        raise node.error("the key 'prompt' is missing")
    if "seed" in keys and "seeds" in keys:
        raise keys["seed"].error("give either seed or seeds")
    settings = {**defaults, **_settings(keys)}
    settings["extra"] = {**defaults.get("extra", {}), **settings.get("extra", {})}
    return Prompt(Payload(id="", prompt=keys["prompt"].text(), **settings), _own_seeds(keys))


def _own_seeds(keys: Mapping[str, Node]) -> tuple[int, ...] | None:
    if "seed" in keys:
        return (_seed(keys["seed"]),)
    return _seeds(keys["seeds"]) if "seeds" in keys else None


def _seeds(node: Node) -> tuple[int, ...]:
    """Read a list of seeds, or ``{start, count}``."""
    if isinstance(node.value, dict):
        seeds = _run_of_seeds(node)
    else:
        seeds = tuple(_seed(item) for item in node.sequence())
    if not seeds:
        raise node.error("seeds must hold at least one")
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise node.error(f"seeds holds {seed} twice")
    return seeds


def _run_of_seeds(node: Node) -> tuple[int, ...]:
    keys = node.mapping(("start", "count"))
    for key in ("start", "count"):
        if key not in keys:
            raise node.error(f"seeds needs the key {key!r}")
    start = _seed(keys["start"])
    return tuple(range(start, start + _positive(keys["count"])))
