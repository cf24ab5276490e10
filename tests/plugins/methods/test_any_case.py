"""Any shape, dtype, hyperparameters, number of models and size of values, against the oracles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import oracle
from bmerge.executors import NativeExecutor
from bmerge.executors.torch import TorchExecutor
from method_cases import CASES, OFFERED, Case, assert_close, expected
from raw_plans import make_job, make_plan, run, store, value_of

EXECUTORS = {"native 1": NativeExecutor(threads=1), "native 3": NativeExecutor(threads=3)}
TORCH = {"torch": TorchExecutor("cpu")}
OWN: dict[str, list] = {}
for _case in CASES:
    OWN.setdefault(_case.name, []).append(_case)

SHAPES = st.lists(st.integers(1, 9), max_size=4).map(tuple) | st.sampled_from(
    [(0,), (3, 0), (1100,), (1, 1300), (1300, 1)]
)

CHOOSING = {"arcee_fusion", "sce", "weight_sum_cutoff", "ties_add_difference"} | {
    name for name, method in OFFERED.items() if any(o.name == "vote" for o in method.options)
}
"""Where numbers are coarse, many are at a limit, or cancel out: float64 may choose others."""
FIXED = {"rotate", "crossover"}
"""Between whole turns see test_rotate.py; the limit of a filter may be on a frequency."""
NEEDS_WEIGHT = {"geometric_median", "karcher"}
"""A mean by weights that are all 0 is no mean."""


@st.composite
def _cases(draw, name):
    """Draw one of a method's settings, or hyperparameters within their search range."""
    case = draw(st.sampled_from(OWN[name]))
    values = {
        h.name: draw(st.just(case.values[h.name]) | _values(h, case))
        for h in case.method.hyperparameters
        if h.name in case.values
    }
    return replace(case, values=values, loss=8 * case.loss)  # some are near to a pole


def _values(h, case):
    if case.name in FIXED:
        return st.nothing()
    own, least = case.values[h.name], 1 if case.name in NEEDS_WEIGHT else 0
    number = st.integers(least, 64).map(lambda i: h.low + (h.high - h.low) * i / 64)
    return st.tuples(*(number for _ in own)).map(list) if isinstance(own, list) else number


def _models(case, shape, seed, apart):
    """Return models that are near to each other, or not at all."""
    random = np.random.default_rng(seed)
    base = random.standard_normal(shape)
    changes = [apart * random.standard_normal(shape) for _ in range(case.count)]
    return [(base + change).astype(np.float32) for change in changes]


anything = settings(
    max_examples=15,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
models = {
    "shape": SHAPES,
    "dtype": st.sampled_from(["F32", "F16", "BF16"]),
    "seed": st.integers(0, 99),
    "apart": st.sampled_from([0.02, 0.4, 2.0]),
}


def _results(folder, case, arrays, dtype, seed):
    """Return the models as they are stored, and each executor's result."""
    infos, rounded = store(folder / "a.bin", arrays, dtype)
    graph = case.method.graph(case.count, case.options)
    plan = make_plan([make_job("t", graph, infos, case.scalars, dtype=dtype, seed=seed)])
    executors = TORCH if case.method.opaque else EXECUTORS | TORCH
    sinks = {label: run(executor, plan)[0] for label, executor in executors.items()}
    shape = infos[0].shape
    return rounded, {label: value_of(s.bytes_of("t"), dtype, shape) for label, s in sinks.items()}


@pytest.mark.parametrize("name", OWN)
def test_method_matches_its_oracle(tmp_path, name):
    @anything
    @given(case=_cases(name), **models)
    def check(case, shape, dtype, seed, apart):
        dtype = "F32" if name in CHOOSING else dtype
        arrays = _models(case, shape, seed, apart)
        rounded, results = _results(tmp_path, case, arrays, dtype, seed)
        exact = expected(case, rounded, seed)
        for label, result in results.items():
            try:
                assert_close(result, exact, case, dtype)
            except AssertionError as error:
                raise AssertionError(f"{label}: {error}") from error

    check()


@pytest.mark.parametrize("name", oracle.METHODS)
def test_first_methods_match_their_oracles_to_the_last_bit(tmp_path, name):
    @anything
    @given(values=st.sampled_from(oracle.METHODS[name]), **models)
    def check(values, shape, dtype, seed, apart):
        case = Case(name, values)
        arrays = _models(case, shape, seed, apart)
        rounded, results = _results(tmp_path, case, arrays, dtype, seed)
        assert len({result.tobytes() for result in results.values()}) == 1
        oracle.assert_close(results["torch"], oracle.terms(name, rounded, values), dtype)

    check()
