"""Which method of bmerge is which of mergekit's, and what their parameters are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from bmerge.recipe import BlockWeights
from bmerge.records import dataclass

__all__ = ["METHODS", "KitMethod"]

Base = Literal["base", "first", "none"]
Weights: TypeAlias = Mapping[str, BlockWeights]
Options: TypeAlias = Mapping[str, str | bool]


@dataclass(frozen=True, slots=True)
class KitMethod:
    """A method of mergekit.

    Args:
        ours: the method here.
        base: whether the base model is one that differences are taken from, the first of two
            models, or none is taken.
        per_model: parameter of each model → the hyperparameter here, and its default; None: none.
        shared: parameter of all → the hyperparameter here, and its default; None: none.
        options: parameter of all that is true or false → the option here, and its default.
        fixed: options of the method here.
        refused: parameter of all → the one value that has a counterpart.
        ignored: parameters of all that change no number, whatever they are.
        with_base: the method here where there is a base model; empty: ``ours`` is for both.
        finish: makes of its weights and options what the method here takes.
        two: whether it takes two models; one that differences are taken from is not counted.
    """

    ours: str
    base: Base = "base"
    per_model: Mapping[str, tuple[str, float | None]] = field(default_factory=dict)
    shared: Mapping[str, tuple[str, float | None]] = field(default_factory=dict)
    options: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    fixed: Mapping[str, str | bool] = field(default_factory=dict)
    refused: Mapping[str, object] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    with_base: str = ""
    finish: Callable[[Weights, Options], tuple[Weights, Options]] | None = None
    two: bool = False


def _nuslerp(weights: Weights, options: Options) -> tuple[Weights, Options]:
    """Return the second model's share of both weights, and what has an angle."""
    first, second = weights["weight_1"], weights["weight_2"]
    blocks = dict.fromkeys((*first.blocks, *second.blocks))
    shares = {block: _share(first.of(block), second.of(block)) for block in blocks}
    alpha = BlockWeights(_share(first.default, second.default), shares)
    apart = "columns" if options["row_wise"] else "vectors"
    return {"alpha": alpha}, {"along": "tensor" if options["flatten"] else apart}


def _share(first: float, second: float) -> float:
    total = first + second
    return 0.5 if abs(total) < 1e-6 else second / total


_WEIGHT = {"weight": ("weight", None)}
_DENSE = {**_WEIGHT, "density": ("density", 1.0)}
_SCALE = {"lambda": ("scale", 1.0)}
_PLAIN = {"normalize": ("normalize", False)}
_TIES = {"normalize": ("normalize", True)}
_MASK = ("int8_mask",)
"""Which number format mergekit compares signs in: a matter of its memory."""
_RESCALED: Mapping[str, object] = {"rescale": True}
_UNSCALED: Mapping[str, object] = {"rescale": False}
_L1: Mapping[str, str | bool] = {"rescale": "l1"}
_CRUMBS = {**_DENSE, "gamma": ("gamma", 0.01)}
_RAM = {"epsilon": ("epsilon", 1e-5)}
_DELLA = {**_DENSE, "epsilon": ("epsilon", 0.15)}

METHODS: Mapping[str, KitMethod] = {
    "linear": KitMethod("linear", "none", _WEIGHT, options=_TIES),
    "slerp": KitMethod("slerp", "first", shared={"t": ("alpha", None)}, two=True),
    "karcher": KitMethod("karcher", "none"),
    "nuslerp": KitMethod(
        "nuslerp",
        "none",
        _WEIGHT,
        options={"nuslerp_flatten": ("flatten", True), "nuslerp_row_wise": ("row_wise", False)},
        with_base="nuslerp_from_base",
        finish=_nuslerp,
        two=True,
    ),
    "multislerp": KitMethod(
        "multislerp",
        "none",
        _WEIGHT,
        options={"normalize_weights": ("normalize", True)},
        refused={"eps": 1e-8},
        with_base="multislerp_from_base",
    ),
    "task_arithmetic": KitMethod(
        "task_arithmetic", "base", _WEIGHT, _SCALE, _PLAIN, refused=_UNSCALED, ignored=_MASK
    ),
    "ties": KitMethod("ties", "base", _DENSE, _SCALE, _TIES, refused=_UNSCALED, ignored=_MASK),
    "dare_linear": KitMethod("dare_linear", "base", _DENSE, _SCALE, _PLAIN, _L1, _RESCALED, _MASK),
    "dare_ties": KitMethod("dare_ties", "base", _DENSE, _SCALE, _PLAIN, _L1, _RESCALED, _MASK),
    "breadcrumbs": KitMethod(
        "breadcrumbs", "base", _CRUMBS, _SCALE, _PLAIN, refused=_UNSCALED, ignored=_MASK
    ),
    "breadcrumbs_ties": KitMethod(
        "breadcrumbs_ties", "base", _CRUMBS, _SCALE, _PLAIN, refused=_UNSCALED, ignored=_MASK
    ),
    "della": KitMethod("della", "base", _DELLA, _SCALE, _TIES, _L1, _RESCALED, _MASK),
    "della_linear": KitMethod(
        "della_linear", "base", _DELLA, _SCALE, _PLAIN, _L1, _RESCALED, _MASK
    ),
    "model_stock": KitMethod(
        "model_stock", "base", options={"filter_wise": ("filter_wise", False)}
    ),
    "sce": KitMethod("sce", "base", shared={"select_topk": ("select_topk", 1.0)}, ignored=_MASK),
    "ram": KitMethod("ram", "base", shared=_RAM),
    "ramplus_tl": KitMethod(
        "ramplus_tl", "base", shared={**_RAM, "r": ("r", 0.1), "alpha": ("alpha", 0.2)}
    ),
    "nearswap": KitMethod("nearswap", "first", shared={"t": ("t", None)}, two=True),
    "arcee_fusion": KitMethod("arcee_fusion", "first", two=True),
    "passthrough": KitMethod("passthrough", "none", {"scale": ("scale", 1.0)}),
}
"""Its name → what it is."""
