"""One name for the tensors of each part of a model, wherever it lies and however it is laid out.

Files of the same model differ by what stands before the keys of its parts, and by their layout:
names, and what is fused or split. All are the same tensors; who comes first says how they are
called.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from bmerge.formats.checkpoint import Checkpoint, Tensor
from bmerge.formats.composed import renamed, reshaped
from bmerge.formats.layouts import are_alike, other_layouts
from bmerge.formats.padded import is_padded, without_padding
from bmerge.formats.prefixes import HEAD, is_part_file, key_of, kind_of, leading, parted, prefix_of
from bmerge.formats.quantised import decoded
from bmerge.formats.relaid import Form, relaid
from bmerge.formats.target import GGUF_SUFFIX

__all__ = ["in_form", "in_one_layout"]


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

    Raises:
        FormatError: if there are quantised weights that cannot be decoded.
    """
    first = checkpoints[0].tensors.keys() if checkpoints else ()
    if all(each.tensors.keys() == first for each in checkpoints):
        return _in_one_shape(checkpoints)
    checkpoints = [decoded(checkpoint) for checkpoint in checkpoints]  # codes cannot be cut
    are_parts = [is_part_file(checkpoint.tensors) for checkpoint in checkpoints]
    bare = [not any(map(prefix_of, each.tensors)) for each in checkpoints]
    found = list(checkpoints)
    known: dict[str, dict[str, Tensor]] = {}
    order = sorted(range(len(found)), key=lambda i: whole_first and (are_parts[i], bare[i]))
    for index in order:
        found[index] = _renamed(found[index], known, is_part=are_parts[index])
        for start, part in _parts(found[index].tensors).items():
            known[start] = {**part.tensors, **known.get(start, {})}
    return _in_one_shape(found)


def _in_one_shape(checkpoints: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """Return checkpoints whose tensors have the shapes that another tells of them.

    GGUF files have no first extents of 1, and no tensor without dimensions; codes in tiles are of
    matrices that were padded.
    """
    from_gguf = [each.path.suffix.lower() == GGUF_SUFFIX for each in checkpoints]
    padded = [
        {key for key, tensor in each.tensors.items() if is_padded(tensor)} for each in checkpoints
    ]
    if not any(from_gguf) and not any(padded):
        return tuple(checkpoints)
    shapes = _told(checkpoints, from_gguf, padded)
    vague = [
        each.tensors if gguf else unsure
        for each, gguf, unsure in zip(checkpoints, from_gguf, padded, strict=True)
    ]
    pairs = zip(checkpoints, vague, strict=True)
    return tuple(_in_shapes(each, shapes, unsure) for each, unsure in pairs)


def _told(
    checkpoints: Sequence[Checkpoint], from_gguf: Sequence[bool], padded: Sequence[Collection[str]]
) -> dict[str, tuple[int, ...]]:
    """Return key → shape: of files that have it as it is, then of GGUF files, then without padding.

    Where all are padded, what one has not is padding of the others.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for asked in (False, True):
        for each, gguf, unsure in zip(checkpoints, from_gguf, padded, strict=True):
            if gguf is asked:
                own = {key: t.shape for key, t in each.tensors.items() if key not in unsure}
                shapes = own | shapes
    least: dict[str, tuple[int, ...]] = {}
    for each, unsure in zip(checkpoints, padded, strict=True):
        for key in unsure:
            shape = each.tensors[key].shape
            pairs = zip(least.get(key, shape), shape, strict=True)
            least[key] = tuple(min(extents) for extents in pairs)
    return least | shapes


def _in_shapes(
    checkpoint: Checkpoint, shapes: Mapping[str, tuple[int, ...]], vague: Collection[str]
) -> Checkpoint:
    told = {key: shapes[key] for key in vague if key in shapes}
    tensors = {
        key: _in_shape(tensor, told[key]) if key in told else tensor
        for key, tensor in checkpoint.tensors.items()
    }
    same = all(tensor is checkpoint.tensors[key] for key, tensor in tensors.items())
    return checkpoint if same else replace(checkpoint, tensors=tensors)


def _in_shape(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tensor.shape == shape or _significant(tensor.shape) != _significant(shape):
        return without_padding(tensor, shape)
    return reshaped(tensor, shape)


def _significant(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without extents of 1 before all others."""
    first = next((place for place, extent in enumerate(shape) if extent != 1), len(shape))
    return shape[first:]


def in_form(checkpoints: Sequence[Checkpoint], form: Form) -> tuple[Checkpoint, ...]:
    """Return checkpoints of which the one that the others go by is laid out as is asked for.

    Raises:
        FormatError: if it has no such part, or no such layout of it is known.
    """
    lead = leading(checkpoints)
    return tuple(relaid(each, form) if each is lead else each for each in checkpoints)


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
    parts = _parts(checkpoint.tensors)
    tensors: list[Tensor] = []
    changed = False
    for part in parts.values():
        best = _best(part, known, taken=parts, is_part=is_part)
        if best is None:
            tensors += part.own.values()
        else:
            tensors += best.tensors
            changed = True
    table = {tensor.key: tensor for tensor in tensors}
    if not changed or len(table) != len(tensors):
        return checkpoint
    return replace(checkpoint, tensors=table, origin=checkpoint.files)


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
    return best if best.fits > (0, 0) else None


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
