"""What can be asked for of a model's form; :mod:`.relaid` brings a model into it."""

from __future__ import annotations

from bmerge.records import dataclass

__all__ = ["LAYOUTS", "PARTS", "Form"]

LAYOUTS = ("original", "comfy", "diffusers")
"""Names that layouts have: that of a model's own code, of ComfyUI, of diffusers."""

PARTS = ("unet", "text_encoder", "vae")
"""Parts of a model that can be taken out of it."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a model is to be laid out; what is None or empty stays as it is.

    Args:
        layout: one of :data:`LAYOUTS`.
        parts: those that are kept, of :data:`PARTS`.
        prefix: what is before the keys of the diffusion model, or of the only part.
    """

    layout: str | None = None
    parts: tuple[str, ...] = ()
    prefix: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether anything is asked for."""
        return self != Form()
