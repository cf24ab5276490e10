"""Which part of a pick a key belongs to.

A part is named by a component (``unet``, ``text_encoder``, ``vae``), a block or range of blocks
of the architecture, a pattern of keys with ``*`` or ``?``, or ``*`` alone for all other keys.
The more particular goes before: patterns, blocks, ranges, components, ``*``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from bmerge.architectures import Architecture
from bmerge.errors import RecipeError, nearest
from bmerge.recipe.weights import block_range

__all__ = ["COMPONENTS", "Parts"]

COMPONENTS = {
    "unet": ("model.diffusion_model.", "unet.", "transformer."),
    "text_encoder": (
        "cond_stage_model.", "conditioner.", "text_encoders.", "text_encoder.", "text_encoder_2.",
    ),
    "vae": ("first_stage_model.", "vae."),
}  # fmt: skip
"""Component → how its keys start."""

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
        self._blocks: dict[str, str] = {}
        for part in sorted(
            (p for p in parts if p not in named), key=architecture.blocks.__contains__
        ):
            self._blocks.update(dict.fromkeys(self._range(part), part))

    def of(self, key: str) -> str | None:
        """Return the part that a key belongs to; None if it is in none."""
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
        return self._rest

    def _range(self, part: str) -> Sequence[str]:
        """Return the blocks that a part names."""
        blocks = self._architecture.blocks
        ends = [part] if part in blocks else [end.strip() for end in part.split("-")]
        for end in ends:
            if end not in blocks:
                message = f"{part!r} is no component, block or pattern of keys"
                raise RecipeError(message, hint=nearest(end, [*COMPONENTS, *blocks, "*"]))
        return block_range(part, self._architecture)
