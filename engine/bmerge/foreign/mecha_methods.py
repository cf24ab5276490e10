"""Which method of bmerge is which of sd-mecha's, and what their parameters are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias

from bmerge.records import dataclass

__all__ = ["DIFFERENT", "MASKS", "METHODS", "MechaMethod"]

Options: TypeAlias = Mapping[str, str | bool]


@dataclass(frozen=True, slots=True)
class MechaMethod:
    """A method of sd-mecha.

    Args:
        ours: the method here.
        models: how many models it takes; None is any number.
        parameters: its parameters in order → the hyperparameter here, and their defaults.
        options: of the method here.
        choices: parameter → its value → options here; the first value is its default, and later
            parameters go before earlier ones.
        only: parameter → the one value that has a counterpart.
        seeded: whether it takes a seed.
        from_zero: whether the method here takes a base first, which is 0 for differences.
    """

    ours: str
    models: int | None
    parameters: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    options: Options = field(default_factory=dict)
    choices: Mapping[str, Mapping[bool, Options]] = field(default_factory=dict)
    only: Mapping[str, object] = field(default_factory=dict)
    seeded: bool = False
    from_zero: bool = False


_ALPHA = {"alpha": ("alpha", 1.0)}
_HALF = {"alpha": ("alpha", 0.5)}
_VOTE = {"vote_sgn": {False: {"vote": "count"}, True: {"vote": "sum"}}}
_MEAN = {
    **_VOTE,
    "apply_stock": {False: {"mean": "stock"}, True: {"mean": "plain"}},
    "apply_median": {False: {}, True: {"mean": "median"}},
}
"""Of ties_sum_extended; its apply_stock means its opposite."""
_MEDIAN = {"eps": 1e-6, "maxiter": 100.0, "ftol": 1e-20}
_EXTENDED = {"cos_eps": 1e-6, **_MEDIAN}
_APPROXIMATION = {
    "use_approximate_basis": False, "approximate_basis_iters": 2.0, "approximate_basis_seed": None,
}  # fmt: skip

METHODS: Mapping[str, MechaMethod] = {
    "weighted_sum": MechaMethod("weighted_sum", 2, _HALF),
    "n_average": MechaMethod("linear", None),
    "slerp": MechaMethod("slerp", 2, _HALF, {"norms": "lerp"}),
    "add_difference": MechaMethod("add", 2, {"alpha": ("weight", 1.0)}),
    "scale": MechaMethod("passthrough", 1, {"alpha": ("scale", 1.0)}),
    "geometric_sum": MechaMethod("geometric_sum", 2, _HALF),
    "multiply_quotient": MechaMethod("multiply_quotient", 3, _ALPHA),
    "add_cosine_a": MechaMethod("add_cosine_a", 2, _ALPHA),
    "add_cosine_b": MechaMethod("add_cosine_b", 2, _ALPHA),
    "crossover": MechaMethod("crossover", 2, {**_HALF, "tilt": ("tilt", 0.0)}),
    "clamp": MechaMethod("clamp", None, {"stiffness": ("stiffness", 0.0)}),
    "rotate": MechaMethod(
        "rotate",
        2,
        {
            "alignment": ("alignment", 1.0),
            "alpha": ("alpha", 0.0),
            "centralization": ("centralization", 1.0),
        },
        only={"stiefel_eps": 1e-8, "stiefel_max_iters": 100.0},
    ),
    "truncate_rank": MechaMethod(
        "truncate_rank", 1, {"rank": ("rank", 8.0)}, only=_APPROXIMATION, from_zero=True
    ),
    "truncate_kronecker": MechaMethod(
        "truncate_kronecker",
        1,
        {"kronecker_ratio": ("ratio", 0.5)},
        only=_APPROXIMATION,
        from_zero=True,
    ),
    "ties_sum": MechaMethod("ties", None, {"k": ("density", 1.0)}, choices=_VOTE, from_zero=True),
    "ties_sum_extended": MechaMethod(
        "ties_extended",
        None,
        {"k": ("density", 0.2)},
        choices=_MEAN,
        only=_EXTENDED,
        from_zero=True,
    ),
    "ties_sum_with_dropout": MechaMethod(
        "ties_with_dropout",
        None,
        {
            "probability": ("probability", 0.9),
            "della_eps": ("epsilon", 0.0),
            "k": ("density", 0.2),
        },
        choices={**_MEAN, "rescale": {True: {"rescale": True}, False: {"rescale": False}}},
        only=_EXTENDED,
        seeded=True,
        from_zero=True,
    ),
    "dropout": MechaMethod(
        "dropout",
        None,
        {"probability": ("probability", 0.9), "rescale": ("rescale", 1.0)},
        only={"overlap": 1.0, "overlap_emphasis": 0.0},
        seeded=True,
        from_zero=True,
    ),
    "model_stock": MechaMethod(
        "model_stock", None, options={"filter_wise": True}, only={"cos_eps": 1e-6}, from_zero=True
    ),
    "geometric_median": MechaMethod("geometric_median", None, only=_MEDIAN),
}
"""Its name → what it is."""

MASKS: Mapping[str, str] = {
    "train_difference_mask": "train_difference",
    "add_opposite_mask": "add_opposite",
    "add_strict_opposite_mask": "add_strict_opposite",
}
"""Methods that make a factor of a difference → the method of three models that uses it here."""

DIFFERENT: Mapping[str, str] = {
    "tensor_sum": "it rounds where a region begins and ends, tensor_sum here cuts off",
    "top_k_tensor_sum": "it rounds where a region begins and ends, ours cuts off",
}
"""Methods of which there is one by the same name, but not the same → why."""
