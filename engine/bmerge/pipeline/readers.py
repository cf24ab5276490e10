"""Who reads a file that is written in the layout of diffusers: for some models nobody else."""

from __future__ import annotations

from collections.abc import Iterator

from bmerge.plan import Plan

__all__ = ["notes_on_readers"]

_COMPONENTS = ("unet.", "transformer.")


def notes_on_readers(plan: Plan) -> Iterator[str]:
    """Yield what is to be said of a file, not a folder, that other programs will not read."""
    if plan.recipe.layout != "diffusers":
        return
    names = [output.key for output in plan.outputs]
    if any(name.startswith(_COMPONENTS) for name in names):
        yield (
            "components of diffusers in one file are read by bmerge alone: diffusers opens "
            "'-o FOLDER --configs FOLDER', ComfyUI and A1111 read '--layout original'"
        )
        return
    from bmerge.formats.wholes import whole_of

    whole = whole_of({"": names}, names)
    if whole is not None and not (whole.same or whole.comfy):
        yield "ComfyUI does not read this model by diffusers' names: '--layout original' is for it"
