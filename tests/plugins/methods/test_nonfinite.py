"""NaN and infinity in a model, for every method on every executor that runs it."""

from __future__ import annotations

import numpy as np
import pytest

from bmerge.errors import ExecutorError
from bmerge.executors import NativeExecutor
from bmerge.executors.base import NonFinite
from bmerge.executors.torch import TorchExecutor
from method_cases import OFFERED
from raw_plans import make_job, make_plan, run, store, value_of

LIMITS = (0.1, 0.9)
"""Statistics of a whole model."""


def _executors(method):
    both = {"native": NativeExecutor(threads=2), "torch": TorchExecutor("cpu")}
    return {"torch": both["torch"]} if method.opaque else both


def _plan(folder, method, spoilt, value, **fields):
    """Plan two tensors, of which one model's second holds ``value``."""
    count = len(method.model_names) + 3 * method.variadic
    tensors = []
    for index in range(count):
        random = np.random.default_rng(index)
        pair = [random.standard_normal((4, 6)).astype("f4") for _ in range(2)]
        if index == spoilt:
            pair[1][1, 2] = value
        tensors.append(store(folder / f"model{index}.bin", pair, "F32")[0])
    scalars = (
        *(h.default for h in method.hyperparameters_of(count)),
        *LIMITS[: len(method.statistics)],
    )
    graph = method.graph(count)
    jobs = [
        make_job(key, graph, [infos[i] for infos in tensors], scalars)
        for i, key in enumerate(("whole", "spoilt"))
    ]
    return make_plan(jobs, **fields)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("method", OFFERED.values(), ids=OFFERED)
def test_what_is_not_finite_is_reported_with_its_model(tmp_path, method, value):
    clean = _plan(tmp_path, method, None, 0)
    whole = {
        name: run(executor, clean)[0].bytes_of("whole")
        for name, executor in _executors(method).items()
    }
    for spoilt in {0, max(clean.merges[0].graph.inputs)}:
        plan = _plan(tmp_path, method, spoilt, value, on_nonfinite="report")
        for name, executor in _executors(method).items():
            sink, report = run(executor, plan)
            assert report.nonfinite == (NonFinite("spoilt", spoilt),), name
            assert sink.bytes_of("whole") == whole[name]
            assert np.isfinite(value_of(sink.bytes_of("whole"), "F32", (4, 6))).all()


@pytest.mark.parametrize("method", OFFERED.values(), ids=OFFERED)
def test_what_is_not_finite_stops_the_merge(tmp_path, method):
    spoilt = max(method.graph(len(method.model_names) + 3 * method.variadic).inputs)
    plan = _plan(tmp_path, method, spoilt, np.nan)
    for executor in _executors(method).values():
        message = f"'spoilt' holds NaN or infinity in model{spoilt}.bin"
        with pytest.raises(ExecutorError, match=message):
            run(executor, plan)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
@pytest.mark.parametrize("name", ["weighted_sum", "add_difference", "passthrough"])
def test_overflow_of_finite_models_is_reported(tmp_path, name, dtype):
    method = OFFERED[name]
    largest = {"F16": 6e4, "BF16": 3e38}[dtype]
    models = [np.full((2, 3), largest * (-1) ** i) for i in range(len(method.model_names))]
    infos = store(tmp_path / "a.bin", models, dtype)[0]
    graph = method.graph(len(models))
    plan = make_plan([make_job("t", graph, infos, (5.0,), dtype=dtype)], on_nonfinite="report")
    for executor in _executors(method).values():
        assert run(executor, plan)[1].nonfinite == (NonFinite("t", None),)
