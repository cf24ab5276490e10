"""Which tensors of several models are the same ones, and which some of them lack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from bmerge.architectures import Architecture
from bmerge.architectures.components import components_of
from bmerge.compare.layers import layer_of
from bmerge.dtypes import is_float
from bmerge.errors import ArchitectureError
from bmerge.formats import Checkpoint, Tensor, decoded, in_one_layout
from bmerge.lora.parsing import is_lora_file
from bmerge.records import dataclass

__all__ = ["AlignedModels", "TensorRow", "align"]


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One tensor in every model.

    Args:
        key: its name in the first model.
        infos: where it lies in each of them.
        block: that the key is in.
        component: that it is of.
        layer: what kind of layer it is of.
    """

    key: str
    infos: tuple[Tensor, ...]
    block: str
    component: str
    layer: str


@dataclass(frozen=True)
class AlignedModels:
    """The tensors of several models, matched as merges match them.

    Args:
        checkpoints: the models, by the names of one layout.
        architecture: of the first.
    """

    checkpoints: tuple[Checkpoint, ...]
    architecture: Architecture

    @cached_property
    def rows(self) -> tuple[TensorRow, ...]:
        """Tensors of one shape in all models, of floats in all of them or in none."""
        return tuple(row for row in self._common if self._is_alike(row))

    @cached_property
    def unlike(self) -> tuple[TensorRow, ...]:
        """Tensors of other shapes, or of floats in some models only."""
        return tuple(row for row in self._common if not self._is_alike(row))

    def lacking(self, model: int) -> list[str]:
        """Return the first model's keys that another has not."""
        there = self._tables[model]
        return [info.key for name, info in self._tables[0].items() if name not in there]

    def added(self, model: int) -> list[str]:
        """Return the keys of a model that the first has not."""
        first = self._tables[0]
        return [info.key for name, info in self._tables[model].items() if name not in first]

    @cached_property
    def _tables(self) -> list[dict[str, Tensor]]:
        name: Callable[[str], str] = self.architecture.canonical
        return [{name(key): info for key, info in c.tensors.items()} for c in self.checkpoints]

    @cached_property
    def _common(self) -> list[TensorRow]:
        return list(self._matched())

    def _matched(self) -> Iterator[TensorRow]:
        first, *others = self._tables
        components = components_of(self.checkpoints[0].tensors, self.architecture)
        for name, info in first.items():
            if all(name in other for other in others):
                key = info.key
                infos = (info, *(other[name] for other in others))
                block = self.architecture.block_of(key)
                yield TensorRow(key, infos, block, components[key], layer_of(key))

    def _is_alike(self, row: TensorRow) -> bool:
        shapes = {info.shape for info in row.infos}
        return len(shapes) == 1 and len({is_float(info.dtype) for info in row.infos}) == 1


def align(checkpoints: Sequence[Checkpoint], architecture: Architecture) -> AlignedModels:
    """Match the tensors of models.

    Args:
        checkpoints: two or more.
        architecture: the block map of the first.

    Raises:
        ArchitectureError: if they have no tensor in common, or one is a LoRA: equal changes may
            have different factors.
        FormatError: if the weights of one are quantised in a way that cannot be decoded.
    """
    for checkpoint in checkpoints:
        if is_lora_file(checkpoint):
            message = f"{checkpoint.path.name} is a LoRA, whose factors do not tell how far it is"
            hint = "compare models with it: 'bmerge merge add_difference MODEL --lora FILE -o OUT'"
            raise ArchitectureError(message, hint=hint)
    checkpoints = [decoded(checkpoint) for checkpoint in checkpoints]
    found = AlignedModels(in_one_layout(checkpoints), architecture)
    if not found.rows:
        names = " and ".join(checkpoint.path.name for checkpoint in checkpoints)
        hint = "`bmerge inspect` names the architecture of each"
        raise ArchitectureError(f"{names} have no tensor in common", hint=hint)
    return found
