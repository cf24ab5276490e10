"""Settings of every method that are worth trying, and how exact float32 can be there."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from oracles import oracle as oracle_of

METHODS = Path(__file__).parents[1] / "plugins" / "bmerge_plugins" / "methods"


def offered():
    """Return name → method, for all files of the folder."""
    files = [file.stem for file in METHODS.glob("*.py") if not file.name.startswith("_")]
    modules = [importlib.import_module(f"bmerge_plugins.methods.{stem}") for stem in sorted(files)]
    return {method.name: method for module in modules for method in module.bmerge_merge_methods()}


OFFERED = offered()
DRAWING = {
    "add_noise", "comparative_interpolation", "dare_linear", "dare_ties", "della", "della_linear",
    "dropout", "ties_with_dropout",
}  # fmt: skip
"""The methods that draw random numbers."""
UNITS = {"F32": 23, "F16": 10, "BF16": 7}
"""Bits of a dtype's fraction."""


@dataclass(frozen=True)
class Case:
    """One setting.

    Args:
        name: of the method.
        values: of its hyperparameters; a list for one per model.
        options: of its options.
        models: how many it is given.
        loss: how many roundings of float32, relative to the greatest value of the tensor, the
            result may be off.
        statistics: of the whole model, in the order of the signature.
    """

    name: str
    values: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    models: int = 0
    loss: float = 8
    statistics: dict[str, float] = field(default_factory=dict)

    @property
    def method(self):
        return OFFERED[self.name]

    @property
    def count(self):
        return self.models or len(self.method.model_names) + 3 * self.method.variadic

    @property
    def scalars(self):
        """The hyperparameters in the order of the graph."""
        flat = {}
        for name, value in self.values.items():
            many = isinstance(value, list)
            flat |= {f"{name}_{i}": v for i, v in enumerate(value, 1)} if many else {name: value}
        given = self.method.complete(flat, self.count, float).values()
        return (*given, *self.statistics.values())

    def __str__(self):
        words = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in self.values.values()]
        return " ".join([self.name, *words, *map(str, self.options.values())])


def _many(name, *settings, options=({},), **rest):
    return [Case(name, values, form, **rest) for values in settings for form in options]


W, D = [1.0, 0.5, 0.25], [0.3, 0.6, 0.9]
TASK = {"weight": W, "scale": 1.2}
LIMITS = {"least": 0.2, "greatest": 0.98}
VOTES = ({}, {"vote": "count"}, {"normalize": True}, {"normalize": False})
RESCALES = ({}, {"rescale": "l1"}, {"rescale": "none"}, {"normalize": True})

CASES = [
    *_many("sum_twice", {"alpha": 0.3, "beta": 0.6}, {"alpha": 1.5, "beta": -0.5}),
    *_many("triple_sum", {"alpha": 0.3, "beta": 0.6}, {"alpha": 1.5, "beta": -0.5}),
    *_many("multiply_difference", {"alpha": 0.3, "beta": 0.6}, {"alpha": 0.0, "beta": 1.0}),
    *_many("similarity_add_difference", {"alpha": 0.3, "beta": 0.6}, {"alpha": 1.0, "beta": 1.0}),
    *_many("train_difference", {"alpha": 0.3}, {"alpha": 1.5}),
    *_many("add_opposite", {"alpha": 0.3}, {"alpha": 1.5}),
    *_many("add_strict_opposite", {"alpha": 0.3}, {"alpha": 1.5}),
    *_many("geometric_sum", {"alpha": 0.3}, {"alpha": 0.5}),
    *_many("multiply_quotient", {"alpha": 0.7}, {"alpha": 1.0}, loss=64),
    *_many("clamp", {"stiffness": 0.0}, {"stiffness": 0.4}),
    *_many("clamp", {"stiffness": 0.5}, models=1),
    *_many("maximum", {}),
    *_many("sigmoid_sum", {"alpha": 0.3}),
    *_many("passthrough", {"scale": 1.3}, {"scale": -0.5}),
    *_many("adjust",
           {"scale": 1.3, "first": 0.1, "second": -0.2, "third": 0.3, "fourth": 0.5}),
    *_many("add_noise", {"alpha": 0.01}),
    *_many("nearswap", {"t": 0.3}, {"t": 0.0}),
    *_many("linear", {"weight": W}, {"weight": 0.3}, options=({}, {"normalize": False})),
    *_many("linear", {"weight": [1.0, -1.0, 0.0]}),
    *_many("add", {"weight": [1.0, 0.5, -0.25]}),
    *_many("task_arithmetic", TASK, options=({}, {"normalize": True})),
    *_many("ties", {**TASK, "density": D}, options=VOTES),
    *_many("ties", {**TASK, "density": 0.0}, {**TASK, "density": 1.0}),
    *_many("ties_extended", {"density": 0.4, "scale": 1.2}, loss=64,
           options=({}, {"vote": "sum"}, {"mean": "median"}, {"mean": "plain"})),
    *_many("ties_extended", {"density": 1.0, "scale": 1.0}, loss=64),
    *_many("ties_with_dropout",
           {"probability": 0.3, "epsilon": 0.0, "density": 0.6, "scale": 1.2}, loss=64,
           options=({}, {"rescale": False}, {"mean": "stock"}, {"mean": "median"})),
    *_many("ties_with_dropout",
           {"probability": 0.4, "epsilon": 0.3, "density": 1.0, "scale": 1.0},
           options=({}, {"vote": "sum"})),
    *_many("ties_with_dropout",
           {"probability": 1.0, "epsilon": 0.0, "density": 0.5, "scale": 1.0}),
    *_many("ties_add_difference", {"alpha": 0.7, "beta": 0.4}, {"alpha": 1.0, "beta": 1.0}),
    *_many("dare_linear", {**TASK, "density": D}, options=RESCALES),
    *_many("dare_ties", {**TASK, "density": D}, options=(*RESCALES, {"vote": "count"})),
    *_many("breadcrumbs", {**TASK, "density": D, "gamma": [0.1, 0.01, 0.3]}),
    *_many("breadcrumbs_ties", {**TASK, "density": D, "gamma": 0.1}, options=VOTES),
    *_many("della_linear", {**TASK, "density": D, "epsilon": 0.15}, options=RESCALES),
    *_many(
        "della",
        {**TASK, "density": D, "epsilon": 0.15},
        options=({"rescale": "l1"}, {"rescale": "none"}),
    ),
    *_many("della", {**TASK, "density": D, "epsilon": [0.1, 0.2, 0.5]}, options=VOTES),
    *_many("dropout", {"alpha": 0.7, "probability": 0.4, "rescale": 0.5},
           options=({}, {"overlap": "disjoint"}, {"overlap": "shared"})),
    *_many("dropout", {"alpha": 1.0, "probability": 1.0, "rescale": 1.0}),
    *_many("model_stock", {}, options=({}, {"filter_wise": True}), loss=64),
    *_many("sce", {"select_topk": 0.3}, {"select_topk": 1.0}),
    *_many("ram", {"epsilon": 0.2}),
    *_many("ramplus_tl", {"epsilon": 0.2, "r": 0.5, "alpha": 0.7}),
    *_many("euclidean_add_difference", {"alpha": 0.3}, {"alpha": 1.0}),
    *_many("add_perpendicular", {"alpha": 0.7}, {"alpha": 1.0}),
    *_many("slerp", {"alpha": 0.3}, {"alpha": 1.2}, options=({}, {"norms": "lerp"})),
    *_many("nuslerp", {"alpha": 0.3}, loss=64,
           options=({}, {"along": "vectors"}, {"along": "columns"})),
    *_many("nuslerp_from_base", {"alpha": 0.3}, loss=64,
           options=({}, {"along": "vectors"}, {"along": "columns"})),
    *_many("multislerp", {"weight": W}, options=({}, {"normalize": False})),
    *_many("multislerp_from_base", {"weight": W}, options=({}, {"normalize": False})),
    *_many("karcher", {"weight": 1.0}, {"weight": W}),
    *_many("geometric_median", {"weight": 1.0}, {"weight": W}),
    *_many("arcee_fusion", {}),
    *_many("extract", {"alpha": 0.3, "beta": 0.2, "gamma": 1.5}, loss=64),
    *_many("add_cosine_a", {"alpha": 0.2}, {"alpha": -0.4}),
    *_many("add_cosine_b", {"alpha": 0.2}, {"alpha": -0.4}),
    *_many("cosine_a", {"alpha": 0.2}, {"alpha": -0.4}, loss=32, statistics=LIMITS),
    *_many("cosine_b", {"alpha": 0.2}, {"alpha": -0.4}, loss=32, statistics=LIMITS),
    *_many("comparative_interpolation", {"alpha": 0.4, "gamma": 0.3}, {"alpha": 0.0, "gamma": 0.0},
           options=({}, {"prefer": "far"}), loss=32),
    *_many("weight_sum_cutoff", {"alpha": 0.3, "beta": 0.9, "gamma": 0.6}),
    *_many("top_k_tensor_sum", *(
        {"alpha": a, "beta": b} for a, b in ((0.4, 0.3), (0.7, 0.6), (-0.2, 0.1))
    )),
    *_many("distribution_crossover", *(
        {"alpha": a, "beta": b} for a, b in ((0.4, 0.3), (0.6, 0.0))
    ), loss=64),
    *_many("crossover", *(
        {"alpha": 0.4, "tilt": tilt} for tilt in (0.0, 0.5, 1.0, 1.6, 2.0, 2.7)
    ), loss=64),
    *_many("smooth_add", {"alpha": 0.7}),
    *_many("tensor_columns", {"alpha": 0.4, "beta": 0.3}, {"alpha": 0.7, "beta": 0.6}),
    *_many("truncate_rank", {"rank": 2.0, "alpha": 0.7}, loss=512),
    *_many("truncate_kronecker", {"ratio": 0.4, "alpha": 0.7}, loss=512),
    *_many("rotate", {"alignment": 1.0, "alpha": 0.3, "centralization": 1.0},
           {"alignment": 0.0, "alpha": 0.3, "centralization": 0.5}, loss=4096),
]  # fmt: skip


def expected(case, models, seed):
    """Return what a method's oracle gives, in float64."""
    wide = [np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in models]
    drawn = {"seed": seed} if case.name in DRAWING else {}
    values = dict(case.values)
    further = case.count - len(case.method.model_names) * case.method.variadic
    for h in case.method.hyperparameters:
        if h.per_model and not isinstance(values[h.name], list):
            values[h.name] = [values[h.name]] * further
    result = oracle_of(case.name)(*wide, **values, **case.options, **case.statistics, **drawn)
    return np.reshape(result, np.shape(models[0]))


def assert_close(result, exact, case, dtype):
    """Allow one rounding to ``dtype`` and some of float32, relative to the greatest value."""
    if not exact.size:
        return
    unit = np.ldexp(1.0, np.maximum(np.frexp(np.abs(exact))[1] - 1, -14) - UNITS[dtype])
    allowed = 0.5 * unit + case.loss * 2.0**-24 * max(np.abs(exact).max(), 1)
    error = np.abs(np.asarray(result, dtype=np.float64) - exact)
    assert np.all(error <= allowed), f"off by {error.max():.3g}, allowed {allowed.max():.3g}"
