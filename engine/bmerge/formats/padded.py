"""Codes of matrices that were padded to whole tiles, whose true size only another model tells.

Files of mxfp8 and nvfp4 hold the padded matrix and nowhere say what of it is not padding. A layer's
bias tells of rows (:mod:`.codecs`); the same layer of a model that is not padded tells all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bmerge.formats.checkpoint import Tensor
from bmerge.formats.coded import CodedTensor

__all__ = ["is_padded", "without_padding"]


def is_padded(tensor: Tensor) -> bool:
    """Tell whether some of a tensor may be padding."""
    return _block(tensor) > 0


def without_padding(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a tensor as the matrix of a shape; as it is if that is not what it was padded from."""
    block = _block(tensor)
    if not block or len(shape) != 2 or tuple(shape) == tensor.shape:
        return tensor
    fits = zip(tensor.shape, shape, strict=True)
    if not all(0 < extent <= padded < extent + block for padded, extent in fits):
        return tensor
    assert isinstance(tensor, CodedTensor)
    code, (_, _, stride), *rest = tensor.codec.parameters
    codec = replace(tensor.codec, parameters=(code, (*shape, stride), *rest))
    return replace(tensor, shape=tuple(shape), codec=codec)


def _block(tensor: Tensor) -> int:
    """Return what extents are padded to a multiple of: columns of a scale; 0 if they are not."""
    if not isinstance(tensor, CodedTensor) or tensor.codec.name != "scaled":
        return 0
    _, _, (form, *cells), _, _, factors, *_ = tensor.codec.parameters
    return cells[1] if form == "tiled" and not factors and len(tensor.shape) == 2 else 0
