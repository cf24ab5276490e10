"""A recipe: everything that one merge depends on, as data.

Two merges from equal recipes and equal input files give equal bytes. A recipe names things; it
does not open files or plugins. Reading one from YAML or JSON is in :mod:`bmerge.recipe.load`,
turning its block weights into a number per tensor in :mod:`bmerge.recipe.weights`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "BlockWeights", "Clamp", "LoraRef", "ModelRef", "OnMissing", "OnNonFinite", "Recipe",
    "Rounding",
]  # fmt: skip

OnMissing = Literal["keep", "error"]
OnNonFinite = Literal["error", "report"]
Clamp = Literal["none", "all", "ab"]
Rounding = Literal["nearest", "stochastic"]


@dataclass(frozen=True, slots=True)
class BlockWeights:
    """One hyperparameter's value for every block.

    Args:
        default: for each block that ``blocks`` does not name.
        blocks: block id → value; ids of the recipe's architecture.
    """

    default: float
    blocks: Mapping[str, float] = field(default_factory=dict)

    def of(self, block: str) -> float:
        """Return the value in ``block``."""
        return self.blocks.get(block, self.default)


@dataclass(frozen=True, slots=True)
class LoraRef:
    """A LoRA on a model.

    Args:
        path: as the user wrote it, relative to the recipe's folder or absolute.
        weights: what its changes are multiplied by, per block.
        sha256: of its bytes, if the recipe is to be refused with any other file.
    """

    path: str
    weights: BlockWeights = field(default_factory=lambda: BlockWeights(1.0))
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One input model.

    Args:
        path: as the user wrote it, relative to the recipe's folder or absolute.
        sha256: of its bytes, if the recipe is to be refused with any other file.
        loras: whose changes are added to it.
    """

    path: str
    sha256: str | None = None
    loras: tuple[LoraRef, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """One merge.

    Args:
        method: name of the merge method.
        models: the inputs, in the order of the method's parameters (a, b, c, …).
        hyperparameters: name → value per block; those left out take the method's default.
        dtype: safetensors tag of the merged tensors; None keeps each tensor's own, which is
            the first model's.
        architecture: id of the block map; None detects it.
        seed: of the methods that draw random numbers.
        on_missing: a key that some input lacks keeps the first model's tensor, or is an error.
        on_nonfinite: NaN or infinity in an input stops the merge, or is only reported.
        options: name → value of the method's options; those left out have their default.
        rebasin: in how many steps the other models are aligned to the first; 0: not at all.
        clamp: limit each element of the result to the range of that element in all models or in
            the first two.
        exclude: blocks, ranges of blocks and glob patterns of keys whose tensors stay the first
            model's, byte for byte.
        prune: leave out what is no part of the model: EMA weights, leftovers of training.
        rounding: how results become numbers of a narrow dtype.
    """

    method: str
    models: tuple[ModelRef, ...]
    hyperparameters: Mapping[str, BlockWeights] = field(default_factory=dict)
    dtype: str | None = None
    architecture: str | None = None
    seed: int = 0
    on_missing: OnMissing = "keep"
    on_nonfinite: OnNonFinite = "error"
    options: Mapping[str, str | bool] = field(default_factory=dict)
    rebasin: int = 0
    clamp: Clamp = "none"
    exclude: tuple[str, ...] = ()
    prune: bool = False
    rounding: Rounding = "nearest"
