"""Changes that are products of matrices which must be computed first, of networks of PEFT.

They are small, so they are written to a file, and the core multiplies them as it does a LoRA's.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from bmerge.formats import ComposedTensor, Tensor, TensorInfo, rows_of
from bmerge.lora.changes import Change
from bmerge.lora.modules import Module
from bmerge.lora.patched import PatchedTensor
from bmerge.lora.peft_shapes import PRODUCTS
from bmerge.records import dataclass

__all__ = ["Factored", "factored"]

_FLOAT32 = 4


@dataclass(frozen=True, slots=True)
class Factored:
    """A tensor whose changes are products of factors in a file.

    Args:
        tensor: it, with such changes.
        made: of each of them the layer, and rows and columns of its weight, in the order of the
            file.
        nbytes: of the file.
    """

    tensor: Tensor
    made: tuple[tuple[Module, int, int], ...]
    nbytes: int

    def write(self, out: BinaryIO) -> None:
        """Write the factors.

        Raises:
            FormatError: if a LoRA cannot be read.
        """
        from bmerge.lora.peft_changes import factors_of

        for module, rows, columns in self.made:
            factors = factors_of(module, rows, columns)
            out.writelines(factor.astype("<f4", order="C").data for factor in factors)


def factored(tensor: Tensor, file: Path) -> Factored:
    """Return a tensor for which all factors lie in a file, which is not written yet.

    Args:
        tensor: LoRAs may be on it, or on some of its pieces.
        file: where the factors are to be.
    """
    maker = _Maker(file)
    return Factored(maker.tensor(tensor), tuple(maker.made), maker.end)


class _Maker:
    """Gives factors their places in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.made: list[tuple[Module, int, int]] = []
        self.end = 0

    def tensor(self, tensor: Tensor) -> Tensor:
        if isinstance(tensor, ComposedTensor):
            pieces = (replace(each, tensor=self.tensor(each.tensor)) for each in tensor.pieces)
            return replace(tensor, pieces=tuple(pieces))
        if not isinstance(tensor, PatchedTensor):
            return tensor
        changes = tuple(self._change(change, tensor.shape) for change in tensor.changes)
        return replace(tensor, changes=changes)

    def _change(self, change: Change, shape: tuple[int, ...]) -> Change:
        module = change.module
        if change.is_bias or module.network not in PRODUCTS:
            return change
        role, axis = PRODUCTS[module.network]
        rank, of_inputs = module.shapes[role][axis], module.network == "HRA"
        turned = shape[::-1] if change.place.turn == "transposed" else shape
        rows, columns = module.fits(turned[0], turned[1], math.prod(turned[1:]))
        self.made.append((module, rows, columns))
        left = self._placed(columns if of_inputs else rows, rank)
        right = self._placed(rank, columns)
        if of_inputs:
            made = replace(module, tensors={"left": left, "right": right})
        else:
            if change.place.of is not None:
                left = rows_of(left, left.key, *change.place.of)
            made = Module(module.name, "LoRA", {"up": left, "down": right})
        return replace(change, module=made, place=replace(change.place, of=None))

    def _placed(self, rows: int, columns: int) -> Tensor:
        nbytes = _FLOAT32 * rows * columns
        placed = TensorInfo("factor", "F32", (rows, columns), self._file, self.end, nbytes)
        self.end += nbytes
        return placed
