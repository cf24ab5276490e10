"""Ties the parameters of a pipeline to tensors with a checkpoint's keys, which merges write.

Where a checkpoint has a parameter as it is, or several of them stacked in one tensor, the two
share their memory: what is merged is what the pipeline computes with, without a copy. Only what
is transposed or swapped in between (a handful of tensors) is copied after each merge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from bmerge import GeneratorError, nearest
from bmerge_plugins.pipelines.source import ParameterSource

if TYPE_CHECKING:
    import torch

__all__ = ["LiveWeights"]

Parameter = tuple[str, "torch.nn.Parameter", ParameterSource]


class LiveWeights:
    """The weights of a pipeline, as a checkpoint has them.

    Args:
        parameters: name (for messages), parameter and source of all that is to be merged.
        layout: key → shape of the checkpoint.

    Raises:
        GeneratorError: if the checkpoint lacks a parameter, or has it in another shape.
    """

    def __init__(
        self, parameters: Iterable[Parameter], layout: Mapping[str, tuple[int, ...]]
    ) -> None:
        import torch

        self._ties: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        self._copies: list[tuple[torch.nn.Parameter, torch.Tensor, ParameterSource]] = []
        groups: defaultdict[str, list[Parameter]] = defaultdict(list)
        for one in parameters:
            groups[one[2].key].append(one)
        self.unused = [key for key in layout if key not in groups]
        """Keys of the checkpoint that no parameter comes from."""
        self.state: dict[str, torch.Tensor] = {
            key: torch.empty(layout[key], device="meta") for key in self.unused
        }
        """Key → what a merge writes to; one mapping for the whole run, so that it is recognised."""
        for key, group in groups.items():
            self.state[key] = self._tensor(sorted(group, key=lambda one: one[2].part), layout)

    def tie(self) -> None:
        """Let the parameters be the merged tensors again, in case they were moved or converted."""
        for parameter, tensor in self._ties:
            if parameter.data_ptr() != tensor.data_ptr():
                parameter.data = tensor

    def finish(self) -> None:
        """Copy what cannot share memory; called after each merge."""
        import torch

        for parameter, tensor, source in self._copies:
            if source.form == "transposed":
                parameter.data.copy_(tensor.T)
            else:
                parameter.data.copy_(torch.cat(tuple(reversed(tensor.chunk(2)))))

    def _tensor(
        self, group: list[Parameter], layout: Mapping[str, tuple[int, ...]]
    ) -> torch.Tensor:
        """Return the tensor of one key."""
        name, first, source = group[0]
        shape = layout.get(source.key)
        if shape is None:
            message = f"the merge has no {source.key!r}, which the pipeline's {name} needs"
            raise GeneratorError(message, blame="study", hint=nearest(source.key, layout))
        if source.form != "same":
            wanted = shape[::-1] if source.form == "transposed" else shape
            _check(name, wanted, tuple(first.shape), source)
            tensor = first.data.new_empty(shape)
            self._copies.append((first, tensor, source))
            return tensor
        if len(group) == 1:
            return self._alone(name, first, source, shape)
        return self._stacked(group, shape)

    def _alone(
        self,
        name: str,
        parameter: torch.nn.Parameter,
        source: ParameterSource,
        shape: tuple[int, ...],
    ) -> torch.Tensor:
        data = parameter.data
        self._ties.append((parameter, data))
        if source.key.endswith("token_embedding.weight") and data.shape[0] > shape[0]:
            data = data[: shape[0]]  # the others are words that textual inversion added
        _check(name, shape, tuple(data.shape), source)
        return data.view(shape)

    def _stacked(self, group: list[Parameter], shape: tuple[int, ...]) -> torch.Tensor:
        rows = sum(parameter.shape[0] for _, parameter, _ in group)
        name, first, source = group[0]
        _check(name, shape, (rows, *first.shape[1:]), source)
        whole = first.data.new_empty(shape)
        end = 0
        for _, parameter, _ in group:
            begin, end = end, end + parameter.shape[0]
            parameter.data = whole[begin:end].view(parameter.shape)
            self._ties.append((parameter, parameter.data))
        return whole


def _check(
    name: str, shape: tuple[int, ...], wanted: tuple[int, ...], source: ParameterSource
) -> None:
    """Compare shapes without axes of length 1 at their ends."""
    if _core(shape) != _core(wanted):
        raise GeneratorError(
            f"{source.key!r} has the shape {list(shape)}, but the pipeline's {name} needs "
            f"{list(wanted)}",
            blame="study",
            hint="set config to a folder with the configuration of this model",
        )


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    end = len(shape)
    while end > 1 and shape[end - 1] == 1:
        end -= 1
    return shape[:end]
