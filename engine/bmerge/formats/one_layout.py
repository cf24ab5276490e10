"""One name for the tensors of each part of a model, wherever it lies and however it is laid out.

Files of the same model differ by what stands before the keys of its parts, and by their layout:
names, and what is fused or split. All are the same tensors; who comes first says how they are
called.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from bmerge.formats.checkpoint import Checkpoint, Tensor
from bmerge.formats.composed import reshaped
from bmerge.formats.form import Form
from bmerge.formats.padded import is_padded, without_padding
from bmerge.formats.prefixes import leading
from bmerge.formats.quantised import decoded
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
    from bmerge.formats.places import by_the_first  # most models of a merge have the same names

    whole = [decoded(checkpoint) for checkpoint in checkpoints]  # codes cannot be cut
    return _in_one_shape(by_the_first(whole, whole_first=whole_first))


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
    if not form.is_given:
        return tuple(checkpoints)
    from bmerge.formats.relaid import relaid  # as few merges ask for one

    lead = leading(checkpoints)
    return tuple(relaid(each, form) if each is lead else each for each in checkpoints)
