"""Where the parts of a file belong in models that are known, and how they are called there.

Part of :mod:`.one_layout`, for files whose tensors have other names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from bmerge.formats.checkpoint import Checkpoint, Tensor
from bmerge.formats.composed import renamed
from bmerge.formats.layouts import are_alike, other_layouts
from bmerge.formats.other_words import under_words_of
from bmerge.formats.prefixes import HEAD, is_part_file, key_of, kind_of, parted, prefix_of

__all__ = ["by_the_first"]

_DIFFUSION = ("", "picture")
"""Kinds of what may stand before a diffusion model."""


def by_the_first(checkpoints: Sequence[Checkpoint], *, whole_first: bool) -> list[Checkpoint]:
    """Return checkpoints by the names of those before them; see :func:`.one_layout.in_one_layout`.

    Args:
        checkpoints: of floats.
        whole_first: whether a part alone goes by the whole checkpoints after it too.
    """
    are_parts = [is_part_file(checkpoint.tensors) for checkpoint in checkpoints]
    bare = [not any(map(prefix_of, each.tensors)) for each in checkpoints]
    found = list(checkpoints)
    known: dict[str, dict[str, Tensor]] = {}
    order = sorted(range(len(found)), key=lambda i: whole_first and (are_parts[i], bare[i]))
    for index in order:
        found[index] = _renamed(found[index], known, is_part=are_parts[index])
        for start, part in _parts(found[index].tensors).items():
            known[start] = {**part.tensors, **known.get(start, {})}
    return found


@dataclass(frozen=True)
class _Part:
    """Tensors of one part of a checkpoint.

    Args:
        start: what stands before their keys.
        own: by their names in the part.
    """

    start: str
    own: Mapping[str, Tensor]

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by names on which all files agree."""
        return {name.removeprefix(HEAD): tensor for name, tensor in self.own.items()}

    @cached_property
    def others(self) -> tuple[_Part, ...]:
        """The part in the other layouts that are known of it."""
        return tuple(_Part(self.start, own) for _, own in other_layouts(self.own))


@dataclass(frozen=True)
class _Place:
    """A part that is known, and tensors of another file that may be those of it."""

    part: _Part
    start: str
    known: Mapping[str, Tensor]

    @cached_property
    def fits(self) -> tuple[int, int]:
        """How many of the tensors have names and shapes of the part, and how many only names."""
        tensors = self._concerned
        named = tensors.keys() & self.known.keys()
        return sum(tensors[n].shape == self.known[n].shape for n in named), len(named)

    @property
    def is_likely(self) -> bool:
        """Whether it may be that part: of text encoders in other places, shapes have to tell."""
        alike, named = self.fits
        elsewhere = self.part.start and self.start not in {"", self.part.start}
        return not elsewhere or kind_of(self.start) != "text" or 2 * alike > named

    @property
    def tensors(self) -> Iterator[Tensor]:
        """The tensors by their names in the part; those that are none of it keep theirs."""
        concerned = self._concerned
        for name, tensor in self.part.own.items():
            short = name.removeprefix(HEAD)
            if short in self.known:
                yield renamed(tensor, self.known[short].key)
            else:
                yield renamed(tensor, key_of(self.start if short in concerned else "", name))

    @cached_property
    def _concerned(self) -> Mapping[str, Tensor]:
        """What of a file without prefixes may be of the part, all of one that has them."""
        if self.part.start or not self.start:
            return self.part.tensors
        heads = {name.split(".", 1)[0] for name in self.known}
        tensors = self.part.tensors.items()
        return {name: tensor for name, tensor in tensors if name.split(".", 1)[0] in heads}


def _renamed(
    checkpoint: Checkpoint, known: Mapping[str, Mapping[str, Tensor]], *, is_part: bool
) -> Checkpoint:
    """Return a checkpoint by the names that are known."""
    taken = _parts(checkpoint.tensors)
    parts = [*_with_leftovers_apart(taken, known)]
    places = [_best(part, known, taken=taken, is_part=is_part) for part in parts]
    tensors: list[Tensor] = []
    changed = False
    for part, place in zip(parts, places, strict=True):
        if place is None or _fits_less(place, places):
            tensors += part.own.values()
        else:
            tensors += place.tensors
            changed = True
    table = {tensor.key: tensor for tensor in tensors}
    if not changed or len(table) != len(tensors):
        return checkpoint
    return replace(checkpoint, tensors=table, origin=checkpoint.files)


def _with_leftovers_apart(
    parts: Mapping[str, _Part], known: Mapping[str, Mapping[str, Tensor]]
) -> Iterator[_Part]:
    """Yield the parts; of one without a prefix, what whole checkpoints have without one by itself.

    Moving averages and schedules are known by their names: they must not keep the weights beside
    them from the model that they are of.
    """
    beside = known.get("", {}) if any(kind_of(start) == "picture" for start in known) else {}
    for start, part in parts.items():
        apart = {} if start else {n: t for n, t in part.own.items() if n in beside}
        if not apart or len(apart) == len(part.own):
            yield part
        else:
            yield _Part(start, apart)
            yield _Part(start, {n: t for n, t in part.own.items() if n not in apart})


def _best(
    part: _Part,
    known: Mapping[str, Mapping[str, Tensor]],
    *,
    taken: Collection[str],
    is_part: bool,
) -> _Place | None:
    """Return where a part belongs and how it is called there; None if it is as it should be."""
    here = known.get(part.start, {})
    same = _Place(part, part.start, here)
    if part.tensors.keys() <= here.keys():
        return same if any(here[name].key != t.key for name, t in part.tensors.items()) else None
    starts = [
        other for other in known
        if other == part.start
        or ((not other or other not in taken)
            and (not (part.start and other) or _same_kind(part.start, other, is_part=is_part)))
    ]  # fmt: skip
    places = [
        place
        for other in starts
        for form in ((part,) if are_alike(part.tensors, known[other]) else (part, *part.others))
        if (place := _Place(form, other, known[other])).is_likely
    ]
    best = max([same, *places], key=lambda place: place.fits)
    if best.fits > (0, 0):
        return best
    if kind_of(part.start) not in _DIFFUSION:
        return None
    homes = (other for other in starts if kind_of(other) in _DIFFUSION)
    under = ((other, under_words_of(part.tensors, known[other])) for other in homes)
    found = [_Place(_Part(part.start, own), other, known[other]) for other, own in under if own]
    return found[0] if len(found) == 1 else None  # of several it may be any


def _fits_less(place: _Place, others: Sequence[_Place | None]) -> bool:
    """Tell whether another part belongs there more: ControlNets call their layers as UNets do."""
    rivals = (other for other in others if other is not None and other.start == place.start)
    return any(
        other.fits > place.fits
        and not {tensor.key for tensor in other.tensors}.isdisjoint(t.key for t in place.tensors)
        for other in rivals
    )


def _parts(tensors: Mapping[str, Tensor]) -> dict[str, _Part]:
    """Return prefix → tensors of that part."""
    return {start: _Part(start, own) for start, own in parted(tensors).items()}


def _same_kind(start: str, other: str, *, is_part: bool) -> bool:
    """Tell whether both prefixes are of one part; which text encoder is which, whole files say.

    Folders of diffusers number theirs, so their tensors have to tell it.
    """
    kind = kind_of(start)
    numbered = "text_encoder" in {start[:12].rstrip("._"), other[:12].rstrip("._")}
    return kind == kind_of(other) and (is_part or kind != "text" or numbered)
