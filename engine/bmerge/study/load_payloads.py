"""Reading the ``payloads`` section of a study file: prompts, seeds, shared settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bmerge.evaluate.payloads import Prompt, make_payloads
from bmerge.evaluate.protocols import Payload
from bmerge.study.document import Value

__all__ = ["read_payloads"]


def _seed(value: Value) -> int:
    seed = value.integer()
    if seed >= 2**32:
        value.fail(f"must be below 2**32, not {seed}")
    return seed


def _weight(value: Value) -> float:
    weight = value.number()
    if weight < 0:
        value.fail(f"must be 0 or more, not {weight:g}")
    return weight


_SETTINGS: dict[str, Callable[[Value], Any]] = {
    "negative_prompt": Value.text,
    "steps": lambda v: v.integer(least=1),
    "cfg": Value.number,
    "width": lambda v: v.integer(least=1),
    "height": lambda v: v.integer(least=1),
    "sampler": Value.text,
    "weight": _weight,
    "extra": lambda v: {name: entry.plain() for name, entry in v.section().rest().items()},
}


def read_payloads(value: Value) -> tuple[Payload, ...]:
    """Read the section.

    Raises:
        RecipeError: for an unknown key, a wrong type, no prompt, or only weights of 0.
    """
    section = value.section()
    defaults = section.get("defaults", _settings, {})
    seeds = section.get("seeds", _seeds, (0,))
    prompts = section.need("prompts", lambda v: [_prompt(item, defaults) for item in v.items()])
    section.finish()
    payloads = make_payloads(prompts, seeds)
    if not any(payload.weight > 0 for payload in payloads):
        value.fail("must hold at least one prompt with a weight above 0")
    return payloads


def _settings(value: Value) -> dict[str, Any]:
    """Read what prompts and defaults have in common."""
    section = value.section()
    left = {key: section.get(key, read, None) for key, read in _SETTINGS.items()}
    section.finish()
    return {key: setting for key, setting in left.items() if setting is not None}


def _prompt(value: Value, defaults: dict[str, Any]) -> Prompt:
    if not value.is_section:
        return Prompt(Payload(id="", prompt=value.text(), **defaults))
    section = value.section()
    text = section.need("prompt", Value.text)
    seeds = section.get("seeds", _seeds, None)
    seeds = section.get("seed", lambda v: (_seed(v),), seeds)
    own = {key: section.get(key, read, None) for key, read in _SETTINGS.items()}
    section.finish()
    settings = defaults | {key: setting for key, setting in own.items() if setting is not None}
    settings["extra"] = {**defaults.get("extra", {}), **settings.get("extra", {})}
    return Prompt(Payload(id="", prompt=text, **settings), seeds)


def _seeds(value: Value) -> tuple[int, ...]:
    """Read a list of seeds, or ``{start, count}``."""
    if value.is_section:
        section = value.section()
        start = section.need("start", _seed)
        count = section.need("count", lambda v: v.integer(least=1))
        section.finish()
        seeds = tuple(range(start, start + count))
    else:
        seeds = tuple(_seed(item) for item in value.items())
    if not seeds:
        value.fail("must hold at least one seed")
    for seed in seeds:
        if seeds.count(seed) > 1:
            value.fail(f"holds the seed {seed} twice")
    return seeds
