"""Ties the parameters of a pipeline to tensors with a checkpoint's keys, which merges write.

A parameter that is one range of a tensor of the checkpoint shares its memory: what is merged is
what the pipeline computes with, without a copy. Only what is transposed, or made of several
ranges (a handful of tensors), is copied after each merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from bmerge import GeneratorError, ParameterPlace

if TYPE_CHECKING:
    import torch

__all__ = ["LiveWeights"]

Parameter = tuple[str, "torch.nn.Parameter", ParameterPlace]


class LiveWeights:
    """The weights of a pipeline, as a checkpoint has them.

    Args:
        parameters: name (for messages), parameter and place of all that is to be merged.
        layout: key → shape of the checkpoint.

    Raises:
        GeneratorError: if the checkpoint has a parameter in another shape.
    """

    def __init__(
        self, parameters: Iterable[Parameter], layout: Mapping[str, tuple[int, ...]]
    ) -> None:
        import torch

        self._layout = layout
        self._ties: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        self._copies: list[tuple[torch.nn.Parameter, ParameterPlace]] = []
        self.state: dict[str, torch.Tensor] = {}
        """Key → what a merge writes to; one mapping for the whole run, so that it is recognised."""
        for name, parameter, place in parameters:
            self._add(name, parameter, place)
        self.unused = [key for key in layout if key not in self.state]
        """Keys of the checkpoint that no parameter comes from."""
        self.state |= {key: torch.empty(layout[key], device="meta") for key in self.unused}

    def tie(self) -> None:
        """Let the parameters be the merged tensors again, in case they were moved or converted."""
        for parameter, tensor in self._ties:
            if parameter.data_ptr() != tensor.data_ptr():
                parameter.data = tensor

    def finish(self) -> None:
        """Copy what cannot share memory; called after each merge."""
        import torch

        for parameter, place in self._copies:
            parts = [self._range(key, first, count) for key, first, count in place.pieces]
            values = parts[0] if len(parts) == 1 else torch.cat(parts)
            if place.turned:
                values = values.view(parameter.shape[::-1]).T
            parameter.data.copy_(values.reshape(parameter.shape))

    def _add(self, name: str, parameter: torch.nn.Parameter, place: ParameterPlace) -> None:
        data, (key, first, count) = parameter.data, place.pieces[0]
        if key.endswith("token_embedding.weight") and data.shape[0] > place.shape[0]:
            data = data[: place.shape[0]]  # the others are words that textual inversion added
        _check(name, key, place.shape, tuple(data.shape))
        if len(place.pieces) > 1 or place.turned:
            for part, _, _ in place.pieces:
                self._whole(part, data)
            self._copies.append((parameter, place))
            return
        if key not in self.state and data.numel() == self._numel(key):
            self.state[key] = data.view(self._layout[key])
            self._ties.append((parameter, parameter.data))
            return
        self._whole(key, data)
        parameter.data = self._range(key, first, count).view(parameter.shape)
        self._ties.append((parameter, parameter.data))

    def _whole(self, key: str, like: torch.Tensor) -> None:
        """Make the tensor of a key, if it is not there yet."""
        if key not in self.state:
            self.state[key] = like.new_empty(self._layout[key])

    def _range(self, key: str, first: int, count: int) -> torch.Tensor:
        return self.state[key].view(-1)[first : first + count]

    def _numel(self, key: str) -> int:
        size = 1
        for extent in self._layout[key]:
            size *= extent
        return size


def _check(name: str, key: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """Compare shapes without axes of length 1 at their ends."""
    if _core(shape) != _core(wanted):
        raise GeneratorError(
            f"what {key!r} has for the pipeline's {name} has the shape {list(shape)}, but it needs "
            f"{list(wanted)}",
            blame="study",
            hint="set config to a folder with the configuration of this model",
        )


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    end = len(shape)
    while end > 1 and shape[end - 1] == 1:
        end -= 1
    return shape[:end]
