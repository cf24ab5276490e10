"""Payloads: from prompts, seeds and shared settings to the list of pictures of every trial.

The list is the same in every trial of a study, seeds included. Trials then differ by the model
only, which makes their comparison several times less noisy than with fresh seeds.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import field, replace
from fnmatch import fnmatchcase

from bmerge.evaluate.protocols import Payload
from bmerge.evaluate.wildcards import Wildcards
from bmerge.records import dataclass

__all__ = ["Prompt", "Witnesses", "make_payloads", "matches", "prompt_of"]

_ID = re.compile(r"(p\d+)-s\d+")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt of a study with its settings.

    Args:
        payload: prompt and settings; its id and seed are replaced.
        seeds: one picture is made with each; None stands for the study's seeds.
        literal: whether it is taken as it is, whatever looks like a wildcard in it.
    """

    payload: Payload
    seeds: tuple[int, ...] | None = None
    literal: bool = False


def make_payloads(
    prompts: Sequence[Prompt], seeds: Sequence[int], wildcards: Wildcards | None = None
) -> tuple[Payload, ...]:
    """Return one payload for each prompt and seed.

    Args:
        prompts: what is to be seen; in the order of the study file.
        seeds: of every prompt that names none of its own.
        wildcards: what wildcards stand for; drawn for each picture by its seed.

    Returns:
        Payloads with ids like ``p03-s1000``: the prompt's position and the seed.
    """
    width = max(2, len(str(len(prompts) - 1)))
    return tuple(
        replace(_rendered(prompt, seed, wildcards), id=f"p{index:0{width}d}-s{seed}", seed=seed)
        for index, prompt in enumerate(prompts)
        for seed in (seeds if prompt.seeds is None else prompt.seeds)
    )


def prompt_of(payload: str) -> str:
    """Return what the ids of all payloads of one prompt have in common; another id stays whole."""
    found = _ID.fullmatch(payload)
    return found[1] if found else payload


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Which pictures of a study are of one prompt, and which are one picture.

    A prompt may be listed more than once, and wildcards may draw the same text for several.

    Args:
        prompts: payload's id → what it shares with all others of its prompt.
        pictures: payload's id → id of the first one that is the same but for weight and tags.
    """

    prompts: Mapping[str, Hashable] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, payloads: Sequence[Payload]) -> Witnesses:
        """Return those of a study's payloads."""
        firsts: dict[str, str] = {}
        same = {p.id: firsts.setdefault(_picture(p), p.id) for p in payloads}
        return cls(_prompts(payloads), same)

    def prompt(self, payload: str) -> Hashable:
        """Return what the pictures of one prompt have in common."""
        return self.prompts.get(payload, prompt_of(payload))

    def picture(self, payload: str, seed: int) -> Hashable:
        """Return what a picture that is there twice has in common with its double."""
        return self.pictures.get(payload, payload), seed


def _picture(payload: Payload) -> str:
    """Return all that a picture depends on, as text."""
    return repr(replace(payload, id="", weight=1.0, tags=()))


def _prompts(payloads: Sequence[Payload]) -> dict[str, Hashable]:
    """Return what each payload shares with those of the same entry or of the same words."""
    above: dict[Hashable, Hashable] = {}

    def root(name: Hashable) -> Hashable:
        while above.setdefault(name, name) != name:
            above[name] = name = above[above[name]]
        return name

    for payload in payloads:
        above[root(prompt_of(payload.id))] = root(tuple(payload.prompt.split()))
    return {payload.id: root(prompt_of(payload.id)) for payload in payloads}


def _rendered(prompt: Prompt, seed: int, wildcards: Wildcards | None) -> Payload:
    payload = prompt.payload
    if prompt.literal or wildcards is None:
        return payload
    return replace(
        payload,
        prompt=wildcards.render(payload.prompt, seed),
        negative_prompt=wildcards.render(payload.negative_prompt, seed),
    )


def matches(payload: Payload, patterns: Sequence[str]) -> bool:
    """Tell whether a payload's id or a tag matches a pattern, such as ``hands`` or ``p03-*``."""
    names = (payload.id, *payload.tags)
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)
