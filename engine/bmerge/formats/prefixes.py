"""One name for the tensors of each part of a model, wherever it lies.

A whole checkpoint has a prefix before the keys of its diffusion model, its VAE and each text
encoder; which one depends on who wrote it, and a file of one part alone has none. All are the same
tensors; who comes first says how they are called.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from bmerge.formats.checkpoint import Checkpoint, Tensor
from bmerge.formats.diffusers_vae import original_vae

__all__ = ["in_one_layout", "is_part_alone", "leading", "prefix_of"]

_PREFIX = re.compile(
    r"(?P<picture>model\.diffusion_model\.|net\.)"
    r"|(?P<vae>first_stage_model\.|vae\.)"
    r"|(?P<text>cond_stage_model\.(?:transformer|model)\."
    r"|conditioner\.embedders\.\d+\.(?:transformer|model)\."
    r"|text_encoders\.[^.]+\.transformer\.)"
)
"""How the keys of the parts of a whole checkpoint start, by kind."""
_BARE = re.compile(
    r"(?:encoder|decoder|quant_conv|post_quant_conv|loss|model_ema"
    r"|text_model|text_projection|embeddings|final_layer_norm|shared"
    r"|transformer\.resblocks|token_embedding|ln_final)\."
)
"""How the keys of a VAE or a text encoder start in a file of its own."""

_Group = dict[str, Tensor]
"""Tensors by their names in a part, as far as all files agree on them."""


def leading(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """Return the model that others go by: the first that is more than a VAE or a text encoder."""
    found = (each for each in checkpoints if not is_part_alone(each.tensors))
    return next(found, checkpoints[0])


def is_part_alone(keys: Collection[str]) -> bool:
    """Tell whether a file holds nothing but a VAE or text encoders, by its keys."""
    found = False
    for key in keys:
        kind = _kind(prefix_of(key)) or ("bare" if _BARE.match(key) else "")
        if kind == "picture" or (not kind and "." in key):
            return False
        found = found or bool(kind)
    return found


@lru_cache(maxsize=1 << 16)
def prefix_of(key: str) -> str:
    """Return how the keys of a tensor's part start, or nothing if its file does not say it."""
    found = _PREFIX.match(key)
    return found[0] if found else ""


def in_one_layout(
    checkpoints: Sequence[Checkpoint], *, whole_first: bool = False
) -> tuple[Checkpoint, ...]:
    """Return checkpoints that call the tensors of each part of a model by the same names.

    Each goes by those before it. One that has no tensor in common with them stays as it is, and so
    does one in which two tensors would get the same name.

    Args:
        checkpoints: the models of a merge.
        whole_first: whether a part alone goes by the whole checkpoints after it too, since parts
            of several files are put together.
    """
    if len({frozenset(map(prefix_of, each.tensors)) for each in checkpoints}) < 2:
        return tuple(checkpoints)
    alone = [is_part_alone(checkpoint.tensors) for checkpoint in checkpoints]
    known: dict[str, _Group] = {}
    every: set[str] = set()
    found = list(checkpoints)
    bare = [not any(map(prefix_of, each.tensors)) for each in checkpoints]
    order = sorted(range(len(found)), key=lambda i: whole_first and (alone[i], bare[i]))
    for index in order:
        layouts = (original_vae(found[index]), found[index]) if alone[index] else (found[index],)
        named = [_renamed(layout, known, alone=alone[index]) for layout in layouts]
        best = max(named, key=lambda each: len(each.tensors.keys() & every))
        if not every.isdisjoint(best.tensors):
            found[index] = best
        every.update(found[index].tensors)
        for start, group in _groups(found[index].tensors).items():
            known[start] = {**group, **known.get(start, {})}
    return tuple(found)


def _renamed(checkpoint: Checkpoint, known: Mapping[str, _Group], *, alone: bool) -> Checkpoint:
    """Return a checkpoint by the names that are known."""
    groups = _groups(checkpoint.tensors)
    names: dict[str, str] = {}
    for start, group in groups.items():
        if known.get(start, {}).keys() & group.keys():
            continue
        places = [
            _Place(group if start else _headed(group, known[other]), other, known[other])
            for other in known
            if other != start
            and (not other or other not in groups)
            and (not (start and other) or _same_kind(start, other, alone=alone))
        ]
        best = max(places, key=lambda place: place.fits, default=None)
        if best is not None and best.fits > (0, 0):
            names.update(best.names)
    renamed = {
        names.get(key, key): info.named(names[key]) if key in names else info
        for key, info in checkpoint.tensors.items()
    }
    whole = len(renamed) == len(checkpoint.tensors)
    return replace(checkpoint, tensors=renamed) if names and whole else checkpoint


@dataclass(frozen=True, slots=True)
class _Place:
    """A part that is known, and tensors of another file that may be those of it."""

    group: _Group
    start: str
    known: _Group

    @property
    def fits(self) -> tuple[int, int]:
        """How many of the tensors have names and shapes of the part, and how many only names."""
        named = self.group.keys() & self.known.keys()
        return sum(self.group[n].shape == self.known[n].shape for n in named), len(named)

    @property
    def names(self) -> Iterator[tuple[str, str]]:
        """Each tensor's key, and what it is called in the part."""
        for name, info in self.group.items():
            own = info.key.removeprefix(prefix_of(info.key))
            yield info.key, self.known[name].key if name in self.known else self.start + own


def _groups(tensors: Mapping[str, Tensor]) -> dict[str, _Group]:
    """Return prefix → tensors of that part."""
    groups: dict[str, _Group] = {}
    for key, info in tensors.items():
        start = prefix_of(key)
        # Text encoders of old files and of new transformers lack this.
        groups.setdefault(start, {})[key[len(start) :].removeprefix("text_model.")] = info
    return groups


def _headed(group: _Group, known: _Group) -> _Group:
    """Return the tensors of a file without prefixes that may be those of a part."""
    heads = {name.split(".", 1)[0] for name in known}
    return {name: info for name, info in group.items() if name.split(".", 1)[0] in heads}


def _same_kind(start: str, other: str, *, alone: bool) -> bool:
    """Tell whether both prefixes are of one part; which text encoder is which, whole files say."""
    kind = _kind(start)
    return kind == _kind(other) and (alone or kind != "text")


def _kind(start: str) -> str:
    found = _PREFIX.fullmatch(start)
    return str(found.lastgroup) if found else ""
