"""Which of our methods is held against which of another tool, and with what settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CASES", "Case"]


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
        tool: ``meh``, ``mecha`` or ``kit``.
        theirs: their name of the method.
        ours: our name.
        models: how many; the first is the base where there is one.
        values: our hyperparameters and options.
        settings: their parameters.
        form: what their function takes and gives: ``weights``; ``delta``, differences to the
            base; ``mask``, a factor of b - c.
        differs: why results are known to differ; empty where they must not.
        differs_in_half: the same, of models in fp16.
    """

    tool: str
    theirs: str
    ours: str
    models: int
    values: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    form: str = "weights"
    differs: str = ""
    differs_in_half: str = ""


def _meh(name: str, models: int, *, differs_in_half: str = "", **values: float) -> Case:
    return Case("meh", name, name, models, values, values, differs_in_half=differs_in_half)


def _mecha(theirs: str, ours: str, models: int, values: Any = None, **rest: Any) -> Case:
    values = values or {}
    settings = rest.pop("settings", values)
    return Case("mecha", theirs, ours, models, values, settings, **rest)


def _kit(
    theirs: str, models: int, values: Any, settings: Any = None, ours: str = "", **rest: Any
) -> Case:
    base = {"base_index": 0, **(values if settings is None else settings)}
    return Case("kit", theirs, ours or theirs, models, values, base, **rest)


W3, D3 = [1.0, 0.5, 0.25], [0.3, 0.6, 0.9]
GIVEN = {"weight": W3, "density": D3, "scale": 1.2}
TASK = {"weight": W3, "density": D3, "lambda": 1.2}
L1 = {**GIVEN, "rescale": "l1"}

EARLY = "they stop when the sum of distances is the same in float32; 40 exact steps are nearer"
WIDE = "on wide matrices theirs adds what of a is outside b's rows, and is no rotation then"
FROM_BELOW = "they count the k-th element from below and keep one more"
EQUAL_KEPT = "of changes equal to the least that is kept, as fp16 has many, they keep some; we all"
EQUAL_ORDER = "values of c that are equal, as fp16 has many, they order by chance; we as they stand"
ALONG_DIM_1 = "on convolutions they rank along dim 1"

CASES = [
    _meh("weighted_sum", 2, alpha=0.3),
    _meh("weighted_subtraction", 2, alpha=0.5, beta=0.6),
    _meh("tensor_sum", 2, alpha=0.4, beta=0.3),
    _meh("tensor_sum", 2, alpha=0.7, beta=0.6),
    _meh("add_difference", 3, alpha=0.7),
    _meh("sum_twice", 3, alpha=0.3, beta=0.6),
    _meh("triple_sum", 3, alpha=0.3, beta=0.6),
    _meh("euclidean_add_difference", 3, alpha=0.3),
    _meh("multiply_difference", 3, alpha=0.3, beta=0.6),
    _meh("top_k_tensor_sum", 2, alpha=0.4, beta=0.3),
    _meh("top_k_tensor_sum", 2, alpha=0.7, beta=0.6),
    _meh("similarity_add_difference", 3, alpha=0.7, beta=0.4),
    _meh("distribution_crossover", 3, alpha=0.4, beta=0.3, differs_in_half=EQUAL_ORDER),
    _meh("ties_add_difference", 3, alpha=0.7, beta=0.4),
    _mecha("n_average", "linear", 3),
    _mecha("slerp", "slerp", 2, {"alpha": 0.3, "norms": "lerp"}, settings={"alpha": 0.3}),
    _mecha("geometric_sum", "geometric_sum", 2, {"alpha": 0.3}),
    _mecha("multiply_quotient", "multiply_quotient", 3, {"alpha": 0.7}),
    _mecha("train_difference_mask", "train_difference", 3, {"alpha": 0.7}, form="mask"),
    _mecha("add_opposite_mask", "add_opposite", 3, {"alpha": 0.7}, form="mask"),
    _mecha("add_strict_opposite_mask", "add_strict_opposite", 3, {"alpha": 0.7}, form="mask"),
    _mecha("add_cosine_a", "add_cosine_a", 2, {"alpha": 0.2}),
    _mecha("add_cosine_b", "add_cosine_b", 2, {"alpha": 0.2}),
    _mecha("crossover", "crossover", 2, {"alpha": 0.4, "tilt": 0.0}),
    _mecha("crossover", "crossover", 2, {"alpha": 0.4, "tilt": 0.5}),
    _mecha("crossover", "crossover", 2, {"alpha": 0.3, "tilt": 1.6}),
    _mecha("crossover", "crossover", 2, {"alpha": 0.3, "tilt": 2.7}),
    _mecha("clamp", "clamp", 3, {"stiffness": 0.0}),
    _mecha("clamp", "clamp", 3, {"stiffness": 0.4}),
    _mecha("geometric_median", "geometric_median", 3, differs=EARLY),
    _mecha("rotate", "rotate", 2, {"alignment": 1.0, "alpha": 0.3}, differs=WIDE),
    _mecha("rotate", "rotate", 2, {"alignment": 0.4, "alpha": 0.0},
           differs=WIDE),
    _mecha("ties_sum", "ties", 4, {"density": 0.3, "vote": "count"}, settings={"k": 0.3},
           form="delta", differs=FROM_BELOW),
    _mecha("ties_sum", "ties", 4, {"density": 0.3}, settings={"k": 0.3, "vote_sgn": True},
           form="delta", differs=FROM_BELOW),
    _mecha("ties_sum", "ties", 4, {"density": 1.0, "vote": "count"}, settings={"k": 1.0},
           form="delta"),
    _mecha("ties_sum_extended", "ties_extended", 3, {"density": 1.0},
           settings={"k": 1.0, "apply_stock": False}, form="delta"),
    _mecha("ties_sum_extended", "ties_extended", 4, {"density": 1.0, "mean": "plain"},
           settings={"k": 1.0, "apply_stock": True}, form="delta"),
    _mecha("ties_sum_extended", "ties_extended", 4, {"density": 0.3, "mean": "plain"},
           settings={"k": 0.3, "apply_stock": True}, form="delta", differs=FROM_BELOW),
    _mecha("ties_sum_extended", "ties_extended", 4, {"density": 1.0, "mean": "median"},
           settings={"k": 1.0, "apply_median": True}, form="delta", differs=EARLY),
    _mecha("ties_sum_with_dropout", "ties_with_dropout", 4,
           {"probability": 0.4, "density": 1.0},
           settings={"probability": 0.4, "k": 1.0, "apply_stock": True}, form="delta"),
    _mecha("ties_sum_with_dropout", "ties_with_dropout", 4,
           {"probability": 0.4, "density": 1.0, "epsilon": 0.3},
           settings={"probability": 0.4, "k": 1.0, "apply_stock": True, "della_eps": 0.3},
           form="delta"),
    _mecha("truncate_rank", "truncate_rank", 2, {"rank": 4.0},
           settings={"rank": 4, "use_approximate_basis": False}, form="delta"),
    _mecha("truncate_kronecker", "truncate_kronecker", 2, {"ratio": 0.4},
           settings={"kronecker_ratio": 0.4, "use_approximate_basis": False}, form="delta"),
    _mecha("model_stock", "model_stock", 3, {"filter_wise": True}, settings={}, form="delta"),
    _kit("linear", 3, {"weight": W3}, {"base_index": None, "weight": W3}),
    _kit("linear", 3, {"weight": W3, "normalize": False},
         {"base_index": None, "weight": W3, "normalize": False}),
    _kit("slerp", 2, {"alpha": 0.3}, {"t": 0.3}),
    _kit("nuslerp", 2, {"alpha": 0.3}, {"base_index": None, "weight": [0.7, 0.3]}),
    _kit("nuslerp", 2, {"alpha": 0.3, "along": "vectors"},
         {"base_index": None, "weight": [0.7, 0.3], "nuslerp_flatten": False}),
    _kit("nuslerp", 3, {"alpha": 0.3}, {"weight": [0.7, 0.3]}, "nuslerp_from_base"),
    _kit("nuslerp", 3, {"alpha": 0.3, "along": "columns"},
         {"weight": [0.7, 0.3], "nuslerp_flatten": False, "nuslerp_row_wise": True},
         "nuslerp_from_base"),
    _kit("multislerp", 3, {"weight": W3}, {"base_index": None, "weight": W3}),
    _kit("multislerp", 4, {"weight": W3}, {"weight": W3}, "multislerp_from_base"),
    _kit("karcher", 3, {}, {"base_index": None}),
    _kit("task_arithmetic", 4, {"weight": W3}, {"weight": W3}),
    _kit("ties", 4, GIVEN, TASK, differs_in_half=EQUAL_KEPT),
    _kit("ties", 4, {**GIVEN, "normalize": False}, {**TASK, "normalize": False},
         differs_in_half=EQUAL_KEPT),
    _kit("dare_linear", 4, L1, TASK),
    _kit("dare_ties", 4, L1, TASK),
    _kit("breadcrumbs", 4, {**GIVEN, "gamma": 0.1}, {**TASK, "gamma": 0.1},
         differs_in_half=EQUAL_KEPT),
    _kit("breadcrumbs_ties", 4, {**GIVEN, "gamma": 0.1}, {**TASK, "gamma": 0.1},
         differs_in_half=EQUAL_KEPT),
    _kit("della_linear", 4, {**L1, "epsilon": 0.05}, {**TASK, "epsilon": 0.05},
         differs=ALONG_DIM_1),
    _kit("della", 4, {**L1, "epsilon": 0.05}, {**TASK, "epsilon": 0.05},
         differs=ALONG_DIM_1),
    _kit("model_stock", 4, {}),
    _kit("model_stock", 4, {"filter_wise": True}),
    _kit("sce", 4, {"select_topk": 0.3}),
    _kit("sce", 4, {"select_topk": 1.0}),
    _kit("nearswap", 2, {"t": 0.1}),
    _kit("arcee_fusion", 2, {}),
    _kit("passthrough", 1, {"scale": 1.3}, {"base_index": None, "scale": 1.3}),
    _kit("ram", 4, {"epsilon": 0.1}),
    _kit("ramplus_tl", 4, {"epsilon": 0.1, "r": 0.5, "alpha": 0.7}),
]  # fmt: skip
