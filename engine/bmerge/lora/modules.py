"""What is in a LoRA file: the layers that it changes, and the tensors that say how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bmerge.formats import Checkpoint, Tensor, rows_of
from bmerge.lora.peft import Configured
from bmerge.lora.peft_shapes import OF_WEIGHT, PEFT, fitting
from bmerge.lora.shapes import glora_order, inputs_turned, matrix_of, rank_of, rotated_rows
from bmerge.records import dataclass

__all__ = ["Lora", "Module", "rows_of_module"]

_BY_ROWS = {"up", "up_bias", "hada_w1_a", "hada_w2_a", "diff", "diff_b", "w_norm", "b_norm", "set"}
"""Roles whose rows are those of the layer's output."""
_LENGTHS = {"dora_scale", "magnitude"}


@dataclass(frozen=True, slots=True)
class Module:
    """One layer that a LoRA changes.

    Args:
        name: of the layer, as the file has it.
        network: ``LoRA`` (also of convolutions), ``LoHa``, ``LoKr``, ``OFT``, ``BOFT``, ``OFTv2``
            (that of PEFT), ``GLoRA``, ``IA3``, ``full``, ``norm``, or one that PEFT alone writes:
            see :mod:`.peft_shapes`.
        tensors: role → where it lies.
        configured: what stands elsewhere than in tensors, or None.
        part: of the layer's rows the first that it is for, and how many the layer has, where
            they are rotated in parts; None: it is for all.
        of_rows: of IA3, whether rows are multiplied, not inputs.
    """

    name: str
    network: str
    tensors: Mapping[str, Tensor]
    configured: Configured | None = None
    part: tuple[int, int] | None = None
    of_rows: bool = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Role → shape."""
        return {role: info.shape for role, info in self.tensors.items()}

    @property
    def matrix(self) -> tuple[int, int] | None:
        """Rows and columns of the change of the layer's weight.

        None if only its bias changes, or the change is of as many as the weight has: :meth:`fits`.
        """
        return matrix_of(self.network, self.shapes)

    @property
    def rotated(self) -> int | None:
        """How many rows are rotated; None for networks that rotate none."""
        return rotated_rows(self.network, self.shapes)

    def fits(self, rows: int, channels: int, columns: int) -> tuple[int, int]:
        """Return rows and columns of the change of a weight.

        Args:
            rows: of the weight.
            channels: its input channels.
            columns: these for each place of its kernel.
        """
        if self.rotated is not None:
            return self.rotated, columns
        if self.network == "OFTv2":
            count, size = inputs_turned(self.shapes)
            return rows, columns if count == 1 and columns % size == 0 else count * size
        if self.network == "IA3":
            count = self.scaling.numel
            return (count, columns) if self.of_rows else (rows, columns // channels * count)
        if self.is_of_peft:
            others = {} if self.configured is None else self.configured.others
            tiled = others.get("init_weights") == "mini"
            return fitting(self.network, self.shapes, rows, columns, tiled=tiled)
        assert self.matrix is not None
        return self.matrix

    @property
    def reparametrised(self) -> bool:
        """Whether the network makes its change of the layer's weight."""
        return self.network in {"OFT", "BOFT", "OFTv2", "GLoRA", "IA3", *OF_WEIGHT}

    @property
    def is_of_peft(self) -> bool:
        """Whether PEFT alone writes its network, whose changes are made by rows."""
        return self.network in PEFT

    @property
    def scales_bias(self) -> bool:
        """Whether the layer's bias is multiplied as the rows of its weight are: as PEFT does it."""
        return self.of_rows and "ia3_l" in self.tensors

    @property
    def scaling(self) -> Tensor:
        """The numbers of IA3: what rows or inputs are multiplied by (PEFT), or 1 less (LyCORIS)."""
        return self.tensors["ia3_l" if "ia3_l" in self.tensors else "ia3"]

    @property
    def needs_weight(self) -> bool:
        """Whether the change depends on what the layer's weight is."""
        return self.reparametrised or (self.magnitude or self.value) is not None

    @property
    def rank(self) -> int | None:
        """The rank that alpha is divided by; None for networks without one."""
        return rank_of(self.network, self.shapes)

    @property
    def inputs_first(self) -> bool:
        """Whether the layer's weight is stored transposed; that of an embedding never is."""
        found = self.configured is not None and self.configured.inputs_first
        return found and "embedding_up" not in self.tensors

    @property
    def bias(self) -> Tensor | None:
        """The change of the layer's bias."""
        roles = ("diff_b", "b_norm", "up_bias")
        return next((self.tensors[role] for role in roles if role in self.tensors), None)

    @property
    def bias_is_scaled(self) -> bool:
        """Whether the change of the bias is multiplied as the product of the factors is."""
        return self.bias is not None and self.bias is self.tensors.get("up_bias")

    @property
    def value(self) -> Tensor | None:
        """What the layer's weight becomes, where that is not told as a change of it."""
        return self.tensors.get("set")

    @property
    def magnitude(self) -> Tensor | None:
        """The lengths that DoRA gives the changed weight's vectors."""
        return self.tensors.get("dora_scale", self.tensors.get("magnitude"))


def rows_of_module(module: Module, begin: int, end: int) -> Module | None:
    """Return what changes some rows of a layer's output alone; None if it has no such rows.

    Args:
        module: the layer.
        begin: the first row.
        end: the one after the last.
    """
    unlike = ("lokr", "hada_t", "embedding", "oft")
    if module.is_of_peft or any(role.startswith(unlike) for role in module.tensors):
        return None
    by_rows = _BY_ROWS | ({glora_order(module.shapes)[2]} if module.network == "GLoRA" else set())
    whole = module.matrix[0] if module.matrix else module.bias.numel if module.bias else 0
    tensors = {
        role: rows_of(tensor, tensor.key, begin, end)
        if role in by_rows or (role in _LENGTHS and tensor.shape[:1] == (whole,))
        else tensor
        for role, tensor in module.tensors.items()
    }
    some = replace(module, tensors=tensors)
    if module.network == "GLoRA" and glora_order(some.shapes) != glora_order(module.shapes):
        return None  # of a rank no less than the size: the rows alone would be taken for others
    return some


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA file.

    Args:
        checkpoint: its table of contents.
        modules: the layers that it changes, in the order of the file.
        unknown: keys that belong to no network type that is known.
    """

    checkpoint: Checkpoint
    modules: tuple[Module, ...]
    unknown: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file."""
        return self.checkpoint.path

    @property
    def networks(self) -> dict[str, int]:
        """Network type → number of layers, the most frequent first."""
        networks = {(module.name, module.network) for module in self.modules}
        return dict(Counter(network for _, network in networks).most_common())

    @property
    def layers(self) -> int:
        """How many layers it has."""
        return len({module.name for module in self.modules})
