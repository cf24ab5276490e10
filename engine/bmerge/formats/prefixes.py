"""One name for a diffusion model's keys, whether it lies in a whole checkpoint or alone.

A whole checkpoint has ``model.diffusion_model.`` before the keys of its UNet or transformer, a file
of that alone has not. Both are the same tensors; who comes first says how they are called.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from bmerge.formats.checkpoint import Checkpoint

__all__ = ["in_one_layout"]

_PREFIX = "model.diffusion_model."


def in_one_layout(checkpoints: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """Return checkpoints that call the tensors of a diffusion model by the same names.

    Each goes by those before it; one that has no tensor in common with them stays as it is, and
    so does one in which two tensors would get the same name.
    """
    if len({_is_whole(checkpoint.tensors) for checkpoint in checkpoints}) < 2:
        return tuple(checkpoints)
    known: set[str] = set()
    found = []
    for checkpoint in checkpoints:
        names = _names(checkpoint.tensors, known)
        renamed = {
            names.get(key, key): replace(info, key=names[key]) if key in names else info
            for key, info in checkpoint.tensors.items()
        }
        whole = len(renamed) == len(checkpoint.tensors)
        found.append(replace(checkpoint, tensors=renamed) if names and whole else checkpoint)
        known.update(found[-1].tensors)
    return tuple(found)


def _is_whole(keys: Collection[str]) -> bool:
    return any(key.startswith(_PREFIX) for key in keys)


def _names(keys: Collection[str], known: Collection[str]) -> Mapping[str, str]:
    """Return key → what it is called in the files before, of those that are called otherwise."""
    if _is_whole(keys):
        names = {key: key.removeprefix(_PREFIX) for key in keys if key.startswith(_PREFIX)}
    else:
        starts = {key[len(_PREFIX) :].split(".", 1)[0] for key in known if key.startswith(_PREFIX)}
        names = {key: _PREFIX + key for key in keys if key.split(".", 1)[0] in starts}
    same = any(key in known for key in names)
    return names if not same and any(name in known for name in names.values()) else {}
