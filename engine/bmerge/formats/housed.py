"""Parts in files of their own, put to a diffusion model that has none of their kind.

Their keys get what stands before them in a whole model of that kind, and so do the keys of the
diffusion model if it lies alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from bmerge.formats.checkpoint import Checkpoint, Tensor
from bmerge.formats.composed import renamed
from bmerge.formats.layouts import in_layout
from bmerge.formats.prefixes import HEAD, is_part_file, key_of, kind_of, leading, parted
from bmerge.formats.wholes import LANGUAGE, Whole, whole_of

__all__ = ["housed"]

_SORTS = (
    ("t5", re.compile(r"encoder\.block\.|shared\."), re.compile(r"t5")),
    ("g", re.compile(r"encoder\.layers\.31\.|transformer\.resblocks\.31\."),
     re.compile(r"clip_g|embedders\.\d\.model")),
    ("h", re.compile(r"transformer\.resblocks\.2[23]\.|encoder\.layers\.22\."),
     re.compile(r"cond_stage_model\.model")),
    ("l", re.compile(r"encoder\.layers\.0\."),
     re.compile(r"clip_l|embedders\.0\.transformer|cond_stage_model\.transformer")),
)  # fmt: skip
"""Sorts of text encoders: what is only in them, and how whole models call them."""
_VAE = re.compile(
    r"(?:decoder|encoder)\.(?:conv_in|conv1)\.|encoder\.layers\.\d+\.(?:stack|layers)\.|encoder\.project_in\."
)


def housed(checkpoints: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """Return checkpoints of which parts alone have the names of a whole model's parts.

    A part stays as it is if the model that the others go by has one of its kind, or if it is not
    known what such models are made of.

    Args:
        checkpoints: models, and files of one part.
    """
    lead = leading(checkpoints)
    parts = parted(lead.tensors)
    picture = next((start for start in parts if kind_of(start) == "picture"), "")
    whole = whole_of(parts, parts.get(picture, {}))
    if whole is None:
        return tuple(checkpoints)
    present = set(map(kind_of, parts))
    found = [_placed(each, whole, present) if each is not lead else each for each in checkpoints]
    if all(one is other for one, other in zip(found, checkpoints, strict=True)) or picture:
        return tuple(found)
    bare = _under(lead, {whole.starts[whole.picture]: parts[""]})
    return tuple(bare if each is lead else each for each in found)


def _placed(part: Checkpoint, whole: Whole, present: Collection[str]) -> Checkpoint:
    """Return a part by its names in a whole model, if that has none of its kind."""
    groups = parted(part.tensors)
    own = groups.get("", {})
    if len(groups) != 1 or not (is_part_file(own) or in_layout(own, LANGUAGE)):
        return part
    if any(map(_VAE.match, own)):
        if "vae" in present:
            return part
        return _under(part, {whole.starts["vae"]: in_layout(own, "original") or own})
    start = None if "text" in present else _text_start(own, whole)
    if start is None:
        return part
    named = in_layout(own, "original" if start.endswith(".model.") else LANGUAGE) or own
    return _under(part, {start: named})


def _text_start(own: Mapping[str, Tensor], whole: Whole) -> str | None:
    """Return what is before the keys of a text encoder, by its sort; None if there is none such."""
    names = [name.removeprefix(HEAD) for name in own]
    starts = [start for start in whole.starts.values() if kind_of(start) == "text"]
    for _, inside, called in _SORTS:
        if any(map(inside.match, names)):
            return next((start for start in starts if called.search(start)), None)
    others = (start for start in starts if not any(called.search(start) for *_, called in _SORTS))
    return next(others, None)


def _under(checkpoint: Checkpoint, parts: Mapping[str, Mapping[str, Tensor]]) -> Checkpoint:
    tensors = (
        renamed(tensor, key_of(start, name))
        for start, part in parts.items()
        for name, tensor in part.items()
    )
    return replace(
        checkpoint, tensors={tensor.key: tensor for tensor in tensors}, origin=checkpoint.files
    )
