"""What a whole model's parts are called: in one file, and as components of diffusers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bmerge.formats.layouts.pair import has, pairs
from bmerge.formats.prefixes import HEAD, kind_of

__all__ = ["LANGUAGE", "PICTURES", "Whole", "whole_of"]

LANGUAGE = "llm"
"""The layout of language models in which models in one file have them, of those of transformers."""

PICTURES = ("unet", "transformer")
"""Components that are a diffusion model."""
_COMFY = "_comfy"
"""How layouts that are only another name for those of a family end."""


@dataclass(frozen=True)
class Whole:
    """The parts of a kind of model.

    Args:
        starts: component of diffusers → what is before its keys in one file.
        same: whether the diffusion model is called alike in all layouts.
        gguf: what GGUF files call such models.
        comfy: whether ComfyUI reads the diffusion model by the names of diffusers too.
    """

    starts: Mapping[str, str]
    same: bool
    gguf: str | None = None
    comfy: bool = False

    @property
    def picture(self) -> str:
        """The component that is the diffusion model."""
        return next(name for name in PICTURES if name in self.starts)

    def component_of(self, start: str, others: Collection[str]) -> str:
        """Return the component that a part is.

        Args:
            start: what is before its keys.
            others: components that are taken, for text encoders that no list has.
        """
        kind = kind_of(start)
        if kind == "picture" or not start:
            return self.picture
        if kind == "vae":
            return "vae"
        if start.rstrip(".") in self.starts:
            return start.rstrip(".")
        known = {where: name for name, where in self.starts.items()}
        free = (name for name in self.starts if name.startswith("text") and name not in others)
        return known.get(start) or next(free, start.rstrip("."))


def whole_of(parts: Mapping[str, Collection[str]], picture: Collection[str]) -> Whole | None:
    """Return the kind of a model; None if none is known of which its diffusion model is.

    Args:
        parts: what is before the keys of each part → its names.
        picture: names of the diffusion model.
    """
    family = _family_of(picture)
    same = next((kind for kind in _kinds() if _is_same(kind, picture)), None)
    if same is not None:
        return Whole(same["starts"], same=True, gguf=same.get("gguf"))
    if family is None:
        return None
    alike = [kind for kind in _kinds() if kind.get("picture") == family]
    best = max(alike, key=lambda kind: _likeness(kind, parts, picture), default=None)
    if best is None:
        return None
    return Whole(best["starts"], same=False, gguf=best.get("gguf"), comfy="comfy" in best)


def _family_of(picture: Collection[str]) -> str | None:
    """Return the name of the layouts that a diffusion model is in.

    Relatives that ComfyUI names alike are told apart in their own layout.
    """
    found = [pair for pair in pairs() if pair.side_of(picture) is not None]
    own = [pair.name for pair in found if not pair.name.endswith(_COMFY)]
    if own or not found:
        return next(iter(own), None)
    if found[0].side_of(picture) == 0:
        return None
    if isinstance(picture, Mapping):
        return _family_of(found[0].converted(picture, 0))
    return found[0].name.removesuffix(_COMFY)


def _is_same(kind: Mapping[str, Any], picture: Collection[str]) -> bool:
    return "same" in kind and all(has(picture, name) for name in kind["same"])


def _likeness(
    kind: Mapping[str, Any], parts: Mapping[str, Collection[str]], picture: Collection[str]
) -> int:
    """Return by how many of its parts a model is of a kind, less those by which it is not."""
    starts = {*kind["starts"].values(), *(f"{name}." for name in kind["starts"])}
    likeness = sum(1 if start in starts else -1 for start in parts if kind_of(start) == "text")
    for component, name in kind.get("has", {}).items():
        names = parts.get(f"{component}.", ())
        likeness += 1 if name in names or HEAD + name in names else -1 if names else 0
    return likeness + any(has(picture, name) for name in kind.get("shaped", ()))


@cache
def _kinds() -> tuple[Mapping[str, Any], ...]:
    data = json.loads(Path(__file__).with_name("wholes.json").read_text("utf-8"))
    return tuple(data["kinds"])
