"""Which part of a pick a key belongs to.

A part is named by a component (``unet``, ``text_encoder``, ``vae``), a block or range of blocks
of the architecture, a pattern of keys with ``*`` or ``?``, or ``*`` alone for all other keys.
The more particular goes before: patterns, blocks, ranges, components, ``*``. A model has one text
encoder or several; of a component, a source gives those that it has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError, nearest
from bmerge.formats import prefix_of
from bmerge.formats.prefixes import OF_PICTURES
from bmerge.recipe.weights import block_range

__all__ = ["COMPONENTS", "Parts", "others_of"]

COMPONENTS = {
    "unet": (
        "model.diffusion_model.", "net.", "unet.", "transformer.", "text_embedding_projection.",
        *OF_PICTURES,
    ),
    "text_encoder": (
        "cond_stage_model.", "conditioner.", "text_encoders.", "text_encoder.", "text_encoder_2.",
    ),
    "vae": ("first_stage_model.", "vae."),
}  # fmt: skip
"""Component → how its keys start."""

_MODEL = "unet"
"""The component that is the diffusion model, which may be a file without any other."""
_SEVERAL = "text_encoder"
"""The component of which a model may have more than one."""
_WILD = "*?["


class Parts:
    """Finds the part of each key.

    Args:
        parts: as the recipe names them.
        architecture: for blocks.

    Raises:
        RecipeError: if a part is none of these.
    """

    def __init__(self, parts: Collection[str], architecture: Architecture) -> None:
        self._architecture = architecture
        self._patterns = [part for part in parts if part != "*" and set(part) & set(_WILD)]
        self._components = [part for part in parts if part in COMPONENTS]
        self._rest = "*" if "*" in parts else None
        named = [*self._patterns, *self._components, "*"]
        self._known: dict[str, str | None] = {}
        self._blocks: dict[str, str] = {}
        for part in sorted(
            (p for p in parts if p not in named), key=architecture.blocks.__contains__
        ):
            self._blocks.update(dict.fromkeys(self._range(part), part))

    def of(self, key: str, others: Collection[str] = ()) -> str | None:
        """Return the part that a key belongs to; None if it is in none.

        Args:
            key: the key.
            others: text encoders that are of ``*``; see :func:`others_of`.
        """
        if key not in self._known:
            self._known[key] = self._of(key)
        part = self._known[key]
        return self._rest if others and part == _SEVERAL and _encoder(key) in others else part

    def kind(self, key: str) -> tuple[str | None, str]:
        """Return what is equal for keys that are of one part whatever it comes from."""
        part = self.of(key)
        return part, _encoder(key) if part == _SEVERAL else ""

    def _of(self, key: str) -> str | None:
        for part in self._patterns:
            if fnmatchcase(key, part):
                return part
        if self._blocks:
            block = self._architecture.block_of(key)
            if block in self._blocks:
                return self._blocks[block]
        for part in self._components:
            if key.startswith(COMPONENTS[part]):
                return part
        return _MODEL if _MODEL in self._components and self._is_bare(key) else self._rest

    def _is_bare(self, key: str) -> bool:
        """Tell whether a key is of a diffusion model that has nothing before its keys."""
        if self._architecture.text_encoders is None or self._architecture.is_leftover(key):
            return False
        from bmerge.architectures.components import MODEL, component_of  # few models are bare

        return component_of(key) == MODEL

    def _range(self, part: str) -> Sequence[str]:
        """Return the blocks that a part names."""
        blocks = self._architecture.blocks
        ends = [part] if part in blocks else [end.strip() for end in part.split("-")]
        for end in ends:
            if end not in blocks:
                message = f"{part!r} is not a component, block or pattern of keys"
                raise RecipeError(message, hint=nearest(end, [*COMPONENTS, *blocks, "*"]))
        return block_range(part, self._architecture)


def others_of(held: Mapping[str, Collection[str]]) -> frozenset[str]:
    """Return the text encoders that a pick takes from ``*``: its source of them lacks these.

    Args:
        held: part → keys of its source.
    """
    if _SEVERAL not in held:
        return frozenset()
    return frozenset(map(_encoder, held.get("*", ()))) - set(map(_encoder, held[_SEVERAL]))


def _encoder(key: str) -> str:
    """Return the text encoder that a key belongs to."""
    return prefix_of(key) or key.partition(".")[0]
