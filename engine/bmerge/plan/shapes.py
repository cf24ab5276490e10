"""The shapes of what is computed from several values: equal, but for channels of a first layer.

The channels of the noise are merged; the others are kept from the widest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bmerge.architectures.first_layers import differ_in_channels, noise_channels
from bmerge.errors import ArchitectureError
from bmerge.formats import Tensor
from bmerge.plan.forms import Form, Leaf
from bmerge.records import dataclass

__all__ = ["MergedShape", "common_extent"]


@dataclass(frozen=True, slots=True)
class MergedShape:
    """The shape of a value, and which channels of it are merged.

    Args:
        widest: a model's tensor of that shape.
        channels: how many are merged, if not all; the others are that tensor's.
    """

    widest: Tensor
    channels: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.widest.shape


class _Found(Protocol):
    @property
    def form(self) -> Form: ...
    @property
    def info(self) -> Tensor: ...
    @property
    def extent(self) -> MergedShape: ...


def common_extent(key: str, found: Sequence[_Found]) -> MergedShape:
    """Return the extent of what is computed from several values.

    Args:
        key: name of the tensor.
        found: the values' tensors, one or more.

    Raises:
        ArchitectureError: if their shapes do not fit together.
    """
    first = found[0]
    equal = len({each.extent.shape for each in found}) == 1
    if equal and not any(each.extent.channels for each in found):
        return first.extent
    widest = max(found, key=lambda each: each.extent.shape[1:2])
    if not equal and not differ_in_channels(key, [each.extent.shape for each in found]):
        other = next(each for each in found if each.extent.shape != first.extent.shape)
        message = (
            f"{key!r} has shape {list(first.extent.shape)} in {first.info.file.name} "
            f"and {list(other.extent.shape)} in {other.info.file.name}"
        )
        raise ArchitectureError(message, hint="these models cannot be merged with each other")
    shared = first.extent.shape[1] if equal else noise_channels(key, first.extent.shape)
    if all(_is_cut(each, shared) for each in found):
        return MergedShape(widest.extent.widest, shared)
    message = f"{key!r} has other input channels from step to step"
    raise ArchitectureError(message, hint="merge models of equal channels first, in one step")


def _is_cut(found: _Found, shared: int) -> bool:
    """Tell whether a value's first ``shared`` channels can be computed by themselves."""
    computed = found.extent.channels or found.extent.shape[1]
    return isinstance(found.form, Leaf) or computed == shared
