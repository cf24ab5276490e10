"""Where the parameters of a pipeline of diffusers lie in a checkpoint.

What the layouts know is asked with the shapes of a checkpoint alone, so whoever holds a pipeline
can let its parameters be ranges of the tensors that a merge writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from bmerge.architectures.detect import detect
from bmerge.architectures.load import outlines
from bmerge.dtypes import SIZES
from bmerge.formats.checkpoint import ComposedTensor, Tensor, TensorInfo
from bmerge.formats.layouts import in_layout
from bmerge.formats.prefixes import OF_PICTURES, kind_of, parted
from bmerge.formats.wholes import whole_of
from bmerge.records import dataclass

__all__ = ["ParameterPlace", "PipelineParts", "pipeline_parts"]

_TURNED = "text_projection"
"""What OpenCLIP has the transpose of; see ``open_clip.json``."""


@dataclass(frozen=True, slots=True)
class ParameterPlace:
    """Where the values of a parameter are.

    Args:
        shape: of the parameter.
        pieces: key, first element and how many of them, one after another.
        turned: whether they are in the order of its transpose.
    """

    shape: tuple[int, ...]
    pieces: tuple[tuple[str, int, int], ...]
    turned: bool = False


@dataclass(frozen=True, slots=True)
class PipelineParts:
    """What of a pipeline a checkpoint has.

    Args:
        architecture: id of what it is.
        picture: the component that is the diffusion model.
        components: name → its parameters' names → where they are.
    """

    architecture: str
    picture: str
    components: Mapping[str, Mapping[str, ParameterPlace]]


def pipeline_parts(shapes: Mapping[str, Sequence[int]]) -> PipelineParts | None:
    """Return where a checkpoint has what a pipeline's components are made of.

    Args:
        shapes: of its tensors, by key; in any layout that is known of such a model.

    Returns:
        None if no pipeline is known for it. A part that is called alike in all layouts has the
        names of the checkpoint.
    """
    table: dict[str, Tensor] = {key: _tensor(key, tuple(shape)) for key, shape in shapes.items()}
    parts = parted(table)
    picture = next((start for start in parts if kind_of(start) == "picture"), "")
    whole = whole_of(parts, parts.get(picture, {}))
    if whole is None:
        return None
    found: dict[str, Mapping[str, ParameterPlace]] = {}
    for start, part in parts.items():
        if start == picture or kind_of(start) in {"vae", "text"}:
            component = whole.component_of(start, [*found])
            same = start == picture and whole.same
            places = _places(part, same=same)
            found[component] = {n: p for n, p in places.items() if not n.startswith(OF_PICTURES)}
            for beside in OF_PICTURES:
                own = {n.removeprefix(beside): p for n, p in places.items() if n.startswith(beside)}
                if own:
                    found[beside.rstrip(".")] = own
    return PipelineParts(detect(table, outlines()).id, whole.picture, found)


def _tensor(key: str, shape: tuple[int, ...]) -> TensorInfo:
    """Return a tensor that can be asked where it is: its file has the name of its key."""
    return TensorInfo(key, "F32", shape, Path(key), 0, SIZES["F32"] * math.prod(shape))


def _places(part: Mapping[str, Tensor], *, same: bool) -> dict[str, ParameterPlace]:
    turned = part.get(_TURNED)
    rest = {name: tensor for name, tensor in part.items() if name != _TURNED}
    known = None if same else in_layout(rest, "diffusers")
    places = {name: _place(tensor) for name, tensor in (known or rest).items()}
    if turned is not None:
        place = _place(turned)
        places[f"{_TURNED}.weight"] = ParameterPlace(place.shape[::-1], place.pieces, turned=True)
    return places


def _place(tensor: Tensor) -> ParameterPlace:
    if isinstance(tensor, ComposedTensor):
        pieces = tuple(
            (key, first + piece.first, piece.count)
            for piece in tensor.pieces
            for key, first, _ in _place(piece.tensor).pieces
        )
        return ParameterPlace(tensor.shape, pieces)
    assert isinstance(tensor, TensorInfo), tensor
    first = tensor.offset // SIZES[tensor.dtype]
    return ParameterPlace(tensor.shape, ((str(tensor.file), first, tensor.numel),))
