"""Number formats by part of a model: ``unet=fp8_e4m3fn,vae=fp32,*=keep``.

One layer above :mod:`bmerge.dtypes`. A rule is kept as text, as recipes and metadata have it; what
a part is called in it are the words of diffusers and ComfyUI.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bmerge.dtypes import canonical
from bmerge.errors import RecipeError, nearest

__all__ = ["KEEP", "WORDS", "DtypeRule", "canonical_rule"]

KEEP = "keep"
"""Stands for the number format that each tensor has."""
WORDS = ("unet", "transformer", "model", "vae", "text_encoder", "image_encoder", "ema")
"""Words for parts that any model may have, or not; others must be there."""
_OF_MODEL = {"unet", "transformer", "model", "diffusion_model", "picture_model"}
_WORD = r"\*|[a-z0-9_]+"


def canonical_rule(text: str) -> str | None:
    """Return a rule that a user gave in the form that recipes keep it; None is not a rule.

    Args:
        text: a number format for all, or ``part=format,…`` with ``*`` for what is not named.

    Raises:
        RecipeError: if it is none.
    """
    if "=" not in text:
        return None if text == KEEP else canonical(text)
    found: dict[str, str] = {}
    for entry in text.split(","):
        part, _, name = (each.strip() for each in entry.partition("="))
        if not re.fullmatch(_WORD, part) or not name:
            raise RecipeError(f"dtype {entry.strip()!r} is not part=format", hint=_example())
        if part in found:
            raise RecipeError(f"dtype names {part!r} twice")
        found[part] = KEEP if name == KEEP else canonical(name)
    return ",".join(f"{part}={name}" for part, name in found.items())


def _example() -> str:
    return "for example unet=fp8_e4m3fn,vae=fp32,*=keep"


class DtypeRule:
    """A rule, to be asked for each part.

    Args:
        text: in the form of :func:`canonical_rule`.
        components: the parts that there are, by their names in :mod:`.architectures.components`.

    Raises:
        RecipeError: if it names a part that is not there, by a word of its own.
    """

    def __init__(self, text: str | None, components: Iterable[str]) -> None:
        self._default: str | None = None if text is None or "=" in text else text
        self._parts: dict[str, str | None] = {}
        if text is not None and "=" in text:
            entries = (entry.partition("=") for entry in text.split(","))
            self._parts = {part: None if name == KEEP else name for part, _, name in entries}
            self._default = self._parts.pop("*", None)
        self._known: dict[str, str | None] = {}
        there = set(map(_plain, components))
        for word in self._parts:
            if word not in WORDS and not any(_names(word, part) for part in there):
                hint = nearest(word, sorted({*WORDS, *there}))
                raise RecipeError(f"dtype names {word!r}, which the model does not have", hint=hint)

    def of(self, component: str) -> str | None:
        """Return the number format of a part; None: each tensor's own."""
        if not self._parts:
            return self._default
        if component not in self._known:
            self._known[component] = self._find(_plain(component))
        return self._known[component]

    def _find(self, part: str) -> str | None:
        words = [word for word in self._parts if _names(word, part)]
        return self._parts[max(words, key=len)] if words else self._default


def _plain(component: str) -> str:
    return component.lower().replace(" ", "_")


def _names(word: str, part: str) -> bool:
    """Tell whether a word is for a part: for it alone, or for all of its kind."""
    if part == "picture_model":
        return word in _OF_MODEL
    return part in {word, f"text_encoder_{word}"} or part.startswith(f"{word}_")
