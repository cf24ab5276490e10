"""Payloads: from prompts, seeds and shared settings to the list of pictures of every trial.

The list is the same in every trial of a study, seeds included. Trials then differ by the model
only, which makes their comparison several times less noisy than with fresh seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from bmerge.evaluate.protocols import Payload

__all__ = ["Prompt", "make_payloads", "matches"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of a study with its settings.

    Args:
        payload: prompt and settings; its id and seed are replaced.
        seeds: one picture is made with each; None stands for the study's seeds.
    """

    payload: Payload
    seeds: tuple[int, ...] | None = None


def make_payloads(prompts: Sequence[Prompt], seeds: Sequence[int]) -> tuple[Payload, ...]:
    """Return one payload for each prompt and seed.

    Args:
        prompts: what is to be seen; in the order of the study file.
        seeds: of every prompt that names none of its own.

    Returns:
        Payloads with ids like ``p03-s1000``: the prompt's position and the seed.
    """
    width = max(2, len(str(len(prompts) - 1)))
    return tuple(
        replace(prompt.payload, id=f"p{index:0{width}d}-s{seed}", seed=seed)
        for index, prompt in enumerate(prompts)
        for seed in (seeds if prompt.seeds is None else prompt.seeds)
    )


def matches(payload: Payload, patterns: Sequence[str]) -> bool:
    """Tell whether a payload's id or a tag matches a pattern, such as ``hands`` or ``p03-*``."""
    names = (payload.id, *payload.tags)
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
