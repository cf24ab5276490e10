"""Which method of bmerge is which of mergekit's, and what their parameters are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["METHODS", "KitMethod"]

Base = Literal["base", "first", "none"]


@dataclass(frozen=True, slots=True)
class KitMethod:
    """A method of mergekit.

    Args:
        ours: the method here.
        base: whether the base model is one that differences are taken from, the first of two
            models, or none is taken.
        per_model: parameter of each model → the hyperparameter here, and its default; None: none.
        shared: parameter of all → the hyperparameter here, and its default.
        options: parameter of all that is true or false → the option here, and its default.
        fixed: options of the method here.
        refused: parameter of all → the one value that has a counterpart.
    """

    ours: str
    base: Base = "base"
    per_model: Mapping[str, tuple[str, float | None]] = field(default_factory=dict)
    shared: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    options: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    fixed: Mapping[str, str | bool] = field(default_factory=dict)
    refused: Mapping[str, object] = field(default_factory=dict)


_WEIGHT = {"weight": ("weight", None)}
_DENSE = {**_WEIGHT, "density": ("density", 1.0)}
_SCALE = {"lambda": ("scale", 1.0)}
_PLAIN = {"normalize": ("normalize", False)}
_TIES = {"normalize": ("normalize", True)}
_MASK: Mapping[str, object] = {"int8_mask": False}
_RESCALED: Mapping[str, object] = {**_MASK, "rescale": True}
_UNSCALED: Mapping[str, object] = {**_MASK, "rescale": False}
_L1: Mapping[str, str | bool] = {"rescale": "l1"}
_CRUMBS = {**_DENSE, "gamma": ("gamma", 0.01)}
_DELLA = {**_DENSE, "epsilon": ("epsilon", 0.15)}

METHODS: Mapping[str, KitMethod] = {
    "linear": KitMethod("linear", "none", _WEIGHT, options=_TIES),
    "slerp": KitMethod("slerp", "first", shared={"t": ("alpha", 0.5)}),
    "karcher": KitMethod("karcher", "none"),
    "multislerp": KitMethod(
        "multislerp", "none", _WEIGHT, options={"normalize_weights": ("normalize", True)}
    ),
    "task_arithmetic": KitMethod(
        "task_arithmetic", "base", _WEIGHT, _SCALE, _PLAIN, refused=_UNSCALED
    ),
    "ties": KitMethod("ties", "base", _DENSE, _SCALE, _TIES, refused=_UNSCALED),
    "dare_linear": KitMethod("dare_linear", "base", _DENSE, _SCALE, _PLAIN, _L1, _RESCALED),
    "dare_ties": KitMethod("dare_ties", "base", _DENSE, _SCALE, _PLAIN, _L1, _RESCALED),
    "breadcrumbs": KitMethod("breadcrumbs", "base", _CRUMBS, _SCALE, _PLAIN, refused=_UNSCALED),
    "breadcrumbs_ties": KitMethod(
        "breadcrumbs_ties", "base", _CRUMBS, _SCALE, _PLAIN, refused=_UNSCALED
    ),
    "della": KitMethod("della", "base", _DELLA, _SCALE, _TIES, _L1, _RESCALED),
    "della_linear": KitMethod("della_linear", "base", _DELLA, _SCALE, _PLAIN, _L1, _RESCALED),
    "model_stock": KitMethod(
        "model_stock", "base", options={"filter_wise": ("filter_wise", False)}
    ),
    "sce": KitMethod("sce", "base", shared={"select_topk": ("select_topk", 1.0)}, refused=_MASK),
    "nearswap": KitMethod("nearswap", "first", shared={"t": ("t", 0.0)}),
    "arcee_fusion": KitMethod("arcee_fusion", "first"),
    "passthrough": KitMethod("passthrough", "none", {"scale": ("scale", 1.0)}),
}
"""Its name → what it is."""
