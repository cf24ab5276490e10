"""Edge values for every method: the ends of hyperparameters and beyond, zeros, equal models,
single elements, huge and tiny numbers. No NaN comes out unless one went in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from method_cases import OFFERED
from running import run_native, run_torch

SHAPES = [(), (0,), (3, 0), (1,), (2,), (1, 1), (1, 5), (5, 1), (3, 4), (2, 3, 1, 2)]
LIMITS = [-1.0, 0.0, 0.3, 1.0]
"""Statistics of a whole model that may be; two may be the same."""


def _count(method, further=3):
    return len(method.model_names) + further * method.variadic


def _ends(h):
    """Return values at the ends of a hyperparameter, and beyond where it may be there."""
    values = {h.default, h.low, h.high, 0.0, 1.0}
    values |= {h.low - 0.5} if h.minimum is None else {h.minimum}
    values |= {h.high + 0.5} if h.maximum is None else {h.maximum}
    return sorted(v for v in values if h.problem(v) is None)


def _defaults(method, count):
    """Return the default hyperparameters, and limits of the whole model."""
    limits = (0.1, 0.9, *LIMITS)[: len(method.statistics)]
    return (*(h.default for h in method.hyperparameters_of(count)), *limits)


def _models(kind, count, shape, random):
    base = random.standard_normal(shape).astype(np.float32)
    change = [random.standard_normal(shape).astype(np.float32) * 0.1 for _ in range(count)]
    return {
        "zeros": [np.zeros_like(base)] * count,
        "equal": [base] * count,
        "opposite": [base * (-1) ** i for i in range(count)],
        "one of zeros": [base + c if i else np.zeros_like(base) for i, c in enumerate(change)],
        "tiny": [c * np.float32(1e-30) for c in change],
        "large": [c * np.float32(1e15) for c in change],
        "half equal": [np.where(base > 0, base, base + c) for c in change],
    }[kind]


KINDS = ["zeros", "equal", "opposite", "one of zeros", "tiny", "large", "half equal"]


@st.composite
def _setting(draw, method):
    count = _count(method, draw(st.integers(1, 4)))
    scalars = [draw(st.sampled_from(_ends(h))) for h in method.hyperparameters_of(count)]
    scalars += [draw(st.sampled_from(LIMITS)) for _ in method.statistics]
    options = {o.name: draw(st.sampled_from(o.choices)) for o in method.options}
    return (
        count,
        tuple(scalars),
        options,
        draw(st.sampled_from(SHAPES)),
        draw(st.sampled_from(KINDS)),
    )


@pytest.mark.parametrize("method", OFFERED.values(), ids=OFFERED)
def test_no_nan_comes_out_unless_one_went_in(method):
    @settings(max_examples=30, derandomize=True, database=None)
    @given(_setting(method))
    def check(setting):
        count, scalars, options, shape, kind = setting
        models = _models(kind, count, shape, np.random.default_rng(1))
        graph = method.graph(count, options)
        with np.errstate(all="ignore"):
            results = [run_torch(graph, models, scalars)]
        if not method.opaque:
            results.append(run_native(graph, models, scalars))
        for result in results:
            assert result.shape == shape
            assert not np.isnan(result).any()

    check()


@pytest.mark.parametrize("method", OFFERED.values(), ids=OFFERED)
def test_nan_in_an_input_is_no_error_of_the_method(method):
    count = _count(method)
    models = [np.random.default_rng(i).standard_normal((4, 6)).astype("f4") for i in range(count)]
    models[-1][1, 2] = np.nan
    result = run_torch(method.graph(count), models, _defaults(method, count))
    assert result.shape == (4, 6)


@pytest.mark.parametrize(
    "name", ["ties", "ties_extended", "dare_ties", "model_stock", "sce", "linear", "clamp"]
)
def test_method_of_any_number_takes_the_least(name):
    method = OFFERED[name]
    model = np.ones((2, 3), dtype=np.float32)
    scalars = [h.default for h in method.hyperparameters_of(1)]
    np.testing.assert_array_equal(run_torch(method.graph(1), [model], scalars), model)


@pytest.mark.parametrize("name", sorted(OFFERED))
def test_equal_models_give_that_model_where_the_method_is_a_mean(name):
    means = {
        "weighted_sum", "sum_twice", "triple_sum", "geometric_sum", "linear", "slerp", "nuslerp",
        "multislerp", "karcher", "geometric_median", "maximum", "clamp", "add_cosine_a",
        "add_cosine_b", "comparative_interpolation", "weight_sum_cutoff", "nearswap", "crossover",
        "distribution_crossover", "tensor_sum", "tensor_columns", "top_k_tensor_sum", "rotate",
        "model_stock", "ties", "dare_linear", "dare_ties", "della", "della_linear", "sce",
        "breadcrumbs", "breadcrumbs_ties", "task_arithmetic", "dropout", "ram", "ramplus_tl",
        "add_difference", "train_difference", "arcee_fusion", "extract", "add_perpendicular",
        "add_opposite", "add_strict_opposite", "multiply_quotient", "euclidean_add_difference",
        "multiply_difference", "ties_add_difference", "nuslerp_from_base", "smooth_add",
        "multislerp_from_base", "truncate_rank", "truncate_kronecker", "similarity_add_difference",
        "weighted_subtraction", "ties_extended", "ties_with_dropout",
        "cosine_a", "cosine_b",
    }  # fmt: skip
    if name not in means:
        pytest.skip("not a mean")
    method = OFFERED[name]
    count = _count(method)
    model = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    result = run_torch(method.graph(count), [model] * count, _defaults(method, count))
    np.testing.assert_allclose(result, model, rtol=1e-5, atol=1e-6)
